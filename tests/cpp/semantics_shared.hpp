// What the programs of the contract in C++ share: tasks, and small questions.
#ifndef TASKRING_TESTS_SEMANTICS_SHARED_HPP
#define TASKRING_TESTS_SEMANTICS_SHARED_HPP

#include "../c/semantics_main.h"
#include "check.hpp"

#include <csignal>

using number = std::uint64_t;
using numbers = std::vector<number>;

/// Fails for odd multiples of 5. `waits` waits.
inline const taskring::task<number(number)> square{"square"};
inline const taskring::task<void(std::string)> complain{"complain"};
inline const taskring::task<void(std::uint32_t)> nap{"nap"};
inline const taskring::task<void()> until_asked{"until_asked"}, die{"die"}, crash{"crash"}, exit_with_3{"exit_with_3"};

/// The task of this number runs until it is asked to stop.
constexpr number waits = 1000;

inline void wait_until_asked() {
    for (int i = 0; i < 20000 && !taskring::cancel_requested(); i++)
        std::this_thread::sleep_for(1ms);
}

inline void define_all() {
    taskring::define(square, [](number x) {
        if (x == waits)
            wait_until_asked();
        if (x % 10 == 5)
            throw std::runtime_error("an odd multiple of 5");
        return x * x;
    });
    taskring::define(complain, [](std::string text) { throw std::runtime_error(text); });
    taskring::define(nap, [](std::uint32_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); });
    taskring::define(until_asked, wait_until_asked);
    taskring::define(die, [] { std::raise(SIGKILL); });
    taskring::define(crash, [] {
        std::signal(SIGSEGV, SIG_DFL);
        std::raise(SIGSEGV);
    });
    taskring::define(exit_with_3, [] { _exit(3); });
}

inline taskring::pool make_pool(std::uint32_t kind, std::uint32_t workers, std::uint32_t capacity = 64) {
    return taskring::pool(make_config(kind, workers, capacity));
}

/// A task that runs until it is asked to stop.
inline taskring::future<void> busy(taskring::pool &pool) {
    auto task = pool.submit(until_asked);
    until_running(task);
    return task;
}

/// The same as one that gives a number.
inline taskring::future<number> busy_number(taskring::pool &pool) {
    auto task = pool.submit(square, waits);
    until_running(task);
    return task;
}

#define CASE(name) {#name, name}

template <std::size_t count> int run_cases(int argc, char **argv, const semantics_case (&cases)[count]) {
    define_all();
    taskring::init(argc, argv);
    return semantics_main(argc, argv, cases, count);
}

#endif
