// std::async: a thread for each task, behind a window.
#include "peer.hpp"

#include <deque>
#include <future>

int main(int argc, char **) {
    if (argc != 3) return 2;
    return peer::serve({{"std::async, window 64", {"single", 4000, [](std::uint64_t n) {
                             std::deque<std::future<std::uint64_t>> under_way;
                             std::uint64_t sum = 0;
                             for (std::uint64_t x = 0; x < n; ++x) {
                                 if (under_way.size() == 64) {
                                     sum += under_way.front().get();
                                     under_way.pop_front();
                                 }
                                 under_way.push_back(std::async(std::launch::async, peer::square, x));
                             }
                             for (auto &future : under_way) sum += future.get();
                             return sum;
                         }}}});
}
