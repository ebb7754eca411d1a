// Follows a running task: it looks for primes and sends each one as soon as it is found.
//
//   c++ -std=c++17 follow.cpp $(pkg-config --cflags --libs taskring) -o follow && ./follow [FROM [TO]]
#include <taskring.hpp>

#include <cstdlib>
#include <iostream>
#include <thread>

/// What is sent: a prime, and how far it is from the one before.
struct found {
    std::uint64_t prime, gap;
};

const taskring::task<std::uint64_t(std::uint64_t, std::uint64_t)> primes{"primes"};

/// Waits a little while there is no room, for the submitter to read.
void send(const found &one) {
    for (;;) {
        const auto sent = taskring::try_send_event(one);
        if (sent.status() != TASKRING_EVENTS_FULL || taskring::cancel_requested())
            return sent.value();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

int main(int argc, char **argv) {
    taskring::define(primes, [](std::uint64_t from, std::uint64_t to) {
        std::uint64_t count = 0, before = 0;
        for (std::uint64_t n = from; n < to; n++) {
            bool prime = n > 1;
            for (std::uint64_t d = 2; prime && d * d <= n; d++)
                prime = n % d != 0;
            if (!prime)
                continue;
            send({n, before == 0 ? 0 : n - before});
            before = n;
            count++;
        }
        return count;
    });
    taskring::init(argc, argv);

    const std::uint64_t from = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000000000;
    const std::uint64_t to = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : from + 1000;
    taskring::pool pool;
    auto task = pool.submit(primes, from, to);
    for (const auto &one : task.events<found>())
        std::cout << one.prime << " after " << one.gap << '\n';
    // The result comes last: what nobody has read goes with it.
    std::cout << task.get() << " primes\n";
}
