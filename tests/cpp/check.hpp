// What the tests of the C++ wrapper share.
#ifndef TASKRING_TESTS_CHECK_HPP
#define TASKRING_TESTS_CHECK_HPP

#include <taskring.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#define CHECK(condition)                                                                                                                     \
    do {                                                                                                                                     \
        if (!(condition)) {                                                                                                                  \
            std::fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, taskring_last_error());                      \
            std::_Exit(1);                                                                                                                   \
        }                                                                                                                                    \
    } while (0)

using namespace std::chrono_literals;

/// Nothing that a test waits for takes this long.
constexpr std::chrono::seconds LIMIT = 30s;

/// What the exception says that `f` must throw.
template <class E, class F> std::string thrown(F f) {
    try {
        f();
    } catch (const E &e) {
        return e.what();
    }
    CHECK(!"it throws");
    return {};
}

/// The status of the taskring::error that `f` must throw.
template <class F> taskring_status status_of(F f) {
    try {
        f();
    } catch (const taskring::error &e) {
        return e.status();
    }
    CHECK(!"it throws");
    return TASKRING_OK;
}

/// Waits until something holds.
template <class F> void until(F holds) {
    const auto start = std::chrono::steady_clock::now();
    while (!holds()) {
        CHECK(std::chrono::steady_clock::now() - start < LIMIT);
        std::this_thread::sleep_for(1ms);
    }
}

template <class R> void until_running(const taskring::future<R> &f) {
    until([&] { return f.state() == taskring::state::running; });
}

inline taskring::config make_config(std::uint32_t method, std::uint32_t workers, std::uint32_t capacity = 64) {
    taskring::config chosen;
    chosen.start_method = method;
    chosen.workers = workers;
    chosen.capacity = capacity;
    return chosen;
}

#endif
