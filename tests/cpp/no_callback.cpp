// What becomes of closures, coroutines and callables when the library refuses the callback that they count on, which takes a system without threads
// to spare: here the wrapper is given a function that refuses.
#include <taskring.h>

#include <cstdint>
#include <functional>

namespace {

/// Looks at the task before it refuses; nothing: it does not refuse.
std::function<void(taskring_pool *, std::uint64_t)> before_refusing;

taskring_status perhaps_on_done(taskring_pool *pool, std::uint64_t ticket, taskring_callback callback, void *context,
                                taskring_destructor destructor) {
    if (!before_refusing)
        return taskring_on_done(pool, ticket, callback, context, destructor);
    before_refusing(pool, ticket);
    if (destructor != nullptr)
        destructor(context);
    // Any failure will do for a text.
    (void)taskring_release(nullptr, 1);
    return TASKRING_SYSTEM;
}

} // namespace

#define taskring_on_done perhaps_on_done
#include "check.hpp"
#undef taskring_on_done

#include <atomic>

namespace {

struct guard {
    std::atomic<int> *ends;
    explicit guard(std::atomic<int> &to) : ends(&to) {}
    guard(guard &&other) noexcept : ends(std::exchange(other.ends, nullptr)) {}
    ~guard() {
        if (ends != nullptr)
            ++*ends;
    }
};

void until_state(taskring_pool *pool, std::uint64_t ticket, std::uint32_t wanted) {
    std::uint32_t state = 0;
    until([&] { return taskring_state(pool, ticket, &state) == TASKRING_OK && state == wanted; });
}

void closures() {
    std::atomic<bool> open{false};
    std::atomic<int> ends{0}, calls{0};
    const auto code = [&] {
        return [&, own = guard(ends)] {
            calls++;
            until([&] { return open.load(); });
        };
    };
    taskring::thread_pool pool(make_config(TASKRING_THREAD, 1));
    const auto refused = [&] { return pool.submit(code()); };

    // It runs: it goes on, and is ended after that.
    before_refusing = [](taskring_pool *in, std::uint64_t ticket) { until_state(in, ticket, TASKRING_RUNNING); };
    CHECK(status_of(refused) == TASKRING_SYSTEM);
    CHECK(calls == 1 && ends == 0);
    // Another is pending: it never runs, and is ended at once.
    before_refusing = [](taskring_pool *in, std::uint64_t ticket) { until_state(in, ticket, TASKRING_PENDING); };
    CHECK(status_of(refused) == TASKRING_SYSTEM);
    CHECK(calls == 1 && ends == 1);
    CHECK(pool.try_submit(code()).status() == TASKRING_SYSTEM && ends == 2);
    open = true;
    until([&] { return ends == 3; });
    // It is over: it was ended by then.
    before_refusing = [](taskring_pool *in, std::uint64_t ticket) { until_state(in, ticket, TASKRING_DONE); };
    CHECK(status_of(refused) == TASKRING_SYSTEM);
    CHECK(calls == 2 && ends == 4);
    before_refusing = nullptr;
    pool.submit(code()).get();
    CHECK(calls == 3 && ends == 5);
}

void callables() {
    taskring::thread_pool pool(make_config(TASKRING_THREAD, 1));
    auto f = pool.submit([] { return 5; });
    std::atomic<int> ends{0};
    bool called = false;
    before_refusing = [](taskring_pool *, std::uint64_t) {};
    CHECK(status_of([&] { f.on_done([&called, own = guard(ends)] { called = true; }); }) == TASKRING_SYSTEM);
    before_refusing = nullptr;
    CHECK(ends == 1 && !called && f.get() == 5);
}

#if defined(__cpp_impl_coroutine)
struct job {
    struct promise_type {
        job get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() { std::terminate(); }
    };
};

job told(taskring::thread_pool &pool, taskring_status &status, std::atomic<int> &result) {
    auto f = pool.submit([] { return 5; });
    auto second = pool.submit([] { return 6; });
    before_refusing = [](taskring_pool *, std::uint64_t) {};
    try {
        result = co_await std::move(f);
    } catch (const taskring::error &e) {
        status = e.status();
    }
    before_refusing = nullptr;
    result = co_await std::move(second);
}

void coroutines() {
    taskring::thread_pool pool(make_config(TASKRING_THREAD, 1));
    taskring_status status = TASKRING_OK;
    std::atomic<int> result{0};
    told(pool, status, result);
    CHECK(status == TASKRING_SYSTEM && result != 5);
    until([&] { return result == 6; });
}
#endif

} // namespace

int main(int argc, char **argv) {
    taskring::init(argc, argv);
    closures();
    callables();
#if defined(__cpp_impl_coroutine)
    coroutines();
#endif
    std::puts("ok");
}
