// Tasks that wait for tasks of their own pool.
#include "check.hpp"

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> fibonacci{"fibonacci"};

std::uint64_t find(std::uint64_t n) {
    if (n < 2)
        return n;
    auto pool = taskring::pool::current();
    auto a = pool.submit(fibonacci, n - 1), b = pool.submit(fibonacci, n - 2);
    return a.get() + b.get();
}

} // namespace

int main(int argc, char **argv) {
    taskring::define(fibonacci, find);
    taskring::init(argc, argv);
    for (auto method : {TASKRING_SPAWN, TASKRING_THREAD}) {
        taskring::config chosen;
        chosen.workers = 1;
        chosen.start_method = method;
        taskring::pool pool(chosen);
        CHECK(pool.submit(fibonacci, std::uint64_t{9}).get() == 34);
    }
    CHECK(status_of([] { taskring::pool::current(); }) == TASKRING_UNSUPPORTED);
    std::puts("ok");
}
