// oneTBB: one task group, the submitter and one thread more.
#include "peer.hpp"

#include <atomic>
#include <tbb/global_control.h>
#include <tbb/task_group.h>

int main(int argc, char **) {
    if (argc != 3) return 2;
    // Two threads for the two CPUs of the pair; where each of them runs is left to the kernel.
    const tbb::global_control two(tbb::global_control::max_allowed_parallelism, 2);
    return peer::serve({{"oneTBB task_group", {"bulk", 400000, [](std::uint64_t n) {
                             std::atomic<std::uint64_t> sum{0};
                             tbb::task_group group;
                             for (std::uint64_t x = 0; x < n; ++x)
                                 group.run([&sum, x] { sum.fetch_add(peer::square(x), std::memory_order_relaxed); });
                             group.wait();
                             return sum.load();
                         }}}});
}
