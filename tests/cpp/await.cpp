// Futures in coroutines.
#include "check.hpp"

#include <atomic>
#include <coroutine>
#include <exception>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<std::string(std::string)> complain{"complain"};
const taskring::task<void()> nothing{"nothing"};
const taskring::task<void()> until_asked{"until_asked"};

void define_all() {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(complain, [](std::string text) -> std::string { throw std::runtime_error(text); });
    taskring::define(nothing, [] {});
    taskring::define(until_asked, [] {
        for (int i = 0; i < 30000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
    });
}

/// A coroutine that starts at once, and whose end can be seen from any thread.
class job {
public:
    struct promise_type {
        std::atomic<bool> over{false};
        std::exception_ptr thrown;
        std::thread::id ended_in;

        job get_return_object() { return job(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_never initial_suspend() noexcept { return {}; }
        auto final_suspend() noexcept {
            struct at_the_end : std::suspend_always {
                void await_suspend(std::coroutine_handle<promise_type> it) noexcept { it.promise().over = true; }
            };
            ended_in = std::this_thread::get_id();
            return at_the_end{};
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { thrown = std::current_exception(); }
    };

    job(job &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    job &operator=(job &&) = delete;
    ~job() {
        if (handle_)
            handle_.destroy();
    }
    bool is_over() const { return handle_.promise().over; }
    /// Waits until it has returned, or throws what it threw.
    std::thread::id get() {
        until([this] { return is_over(); });
        if (handle_.promise().thrown)
            std::rethrow_exception(handle_.promise().thrown);
        return handle_.promise().ended_in;
    }

private:
    explicit job(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

job squares(taskring::pool &pool, std::uint64_t from, std::uint64_t to, std::uint64_t &sum) {
    for (std::uint64_t x = from; x < to; x++)
        sum += co_await pool.submit(square, x);
}

template <class R> job await_it(taskring::future<R> f, R &result) { result = co_await std::move(f); }
job await_it(taskring::future<void> f) { co_await std::move(f); }

void finished_and_pending(taskring::pool &pool) {
    const auto here = std::this_thread::get_id();
    auto done = pool.submit(square, 7u);
    done.wait();
    std::uint64_t y = 0;
    job at_once = await_it(std::move(done), y);
    CHECK(at_once.is_over() && y == 49 && at_once.get() == here);

    auto running = pool.submit(until_asked), second = pool.submit(until_asked);
    until_running(running);
    until_running(second);
    const std::uint64_t first_ticket = running.ticket(), second_ticket = second.ticket();
    job waits = await_it(std::move(running)), waits_too = await_it(std::move(second));
    auto pending = pool.submit(square, 9u);
    const std::uint64_t pending_ticket = pending.ticket();
    job cancelled = await_it(std::move(pending), y);
    auto later = pool.submit(square, 8u);
    job behind = await_it(std::move(later), y);
    CHECK(!waits.is_over() && !cancelled.is_over() && !behind.is_over());
    std::uint32_t never = 0;
    CHECK(taskring_cancel(pool.get(), pending_ticket, &never) == TASKRING_OK && never == 1);
    thrown<taskring::cancelled_error>([&] { cancelled.get(); });
    CHECK(!waits.is_over() && !waits_too.is_over());
    CHECK(taskring_cancel(pool.get(), first_ticket, nullptr) == TASKRING_OK);
    CHECK(taskring_cancel(pool.get(), second_ticket, nullptr) == TASKRING_OK);
    CHECK(waits.get() != here && waits_too.get() != here && behind.get() != here);
    CHECK(y == 64);
}

void failures(taskring::pool &pool) {
    std::string text;
    auto done = pool.submit(complain, "over");
    done.wait();
    CHECK(thrown<taskring::task_error>([&] { await_it(std::move(done), text).get(); }) == "over");
    CHECK(thrown<taskring::task_error>([&] { await_it(pool.submit(complain, "alas"), text).get(); }) == "alas");
    CHECK(text.empty());
    // A future without a task is told as everywhere.
    CHECK(status_of([&] { await_it(taskring::future<void>()).get(); }) == TASKRING_INVALID_ARGUMENT);
    // Caught where it awaits, and on.
    const auto goes_on = [](taskring::pool &in, std::uint64_t &y) -> job {
        bool caught = false;
        try {
            co_await in.submit(complain, "alas");
        } catch (const taskring::task_error &) {
            caught = true;
        }
        co_await in.submit(nothing);
        y = caught ? co_await in.submit(square, 3u) : 0;
    };
    std::uint64_t y = 0;
    goes_on(pool, y).get();
    CHECK(y == 9);
}

/// One await after another, whichever side comes first: each result once, and the stack does not grow.
void races(taskring::pool &pool) {
    constexpr std::uint64_t EACH = 3000;
    std::uint64_t sums[3] = {};
    {
        job first = squares(pool, 0, EACH, sums[0]);
        job second = squares(pool, EACH, 2 * EACH, sums[1]);
        job third = squares(pool, 2 * EACH, 3 * EACH, sums[2]);
        first.get();
        second.get();
        third.get();
    }
    std::uint64_t wanted = 0;
    for (std::uint64_t x = 0; x < 3 * EACH; x++)
        wanted += x * x;
    CHECK(sums[0] + sums[1] + sums[2] == wanted);
    // Tasks that are over, and that end about now.
    const auto long_after = [](taskring::pool &in, std::uint64_t times) -> job {
        for (std::uint64_t x = 0; x < times; x++) {
            auto f = in.submit(nothing);
            if (x % 2 == 0)
                f.wait();
            co_await std::move(f);
        }
    };
    long_after(pool, 20000).get();
}

/// Destroyed while it is suspended, a coroutine is not resumed, and its task goes on.
void destroyed(std::uint32_t method) {
    taskring::pool pool(make_config(method, 1));
    auto running = pool.submit(until_asked);
    until_running(running);
    std::atomic<int> callbacks{0};
    bool went_on = false;
    {
        const auto waits = [](taskring::future<std::uint64_t> f, bool &on) -> job {
            co_await std::move(f);
            on = true;
        };
        auto pending = pool.submit(square, 5u);
        pending.on_done([&] { callbacks++; });
        job it = waits(std::move(pending), went_on);
        CHECK(!it.is_over());
    }
    // Called after those of the coroutine's task, which ends before.
    auto last = pool.submit(square, 6u);
    last.on_done([&] { callbacks++; });
    running.cancel();
    CHECK(last.get_for(LIMIT) == 36);
    until([&] { return callbacks == 2; });
    CHECK(!went_on);
}

/// The pool ends first: what awaits is resumed before, and has its result.
void pool_ends(std::uint32_t method) {
    for (const bool destroys : {false, true}) {
        std::uint64_t y = 0;
        auto pool = std::make_unique<taskring::pool>(make_config(method, 1));
        auto running = pool->submit(until_asked);
        until_running(running);
        job it = await_it(pool->submit(square, 11u), y);
        CHECK(!it.is_over());
        running.cancel();
        running.wait();
        if (destroys) {
            { auto gone = std::move(running); }
            pool.reset();
            CHECK(it.is_over());
        } else {
            pool->shutdown(true, false);
        }
        it.get();
        CHECK(y == 121);
    }
}

void closures() {
    taskring::thread_pool pool(make_config(TASKRING_THREAD, 2));
    const auto of = [](taskring::thread_pool &in, std::string &text) -> job {
        const int captured = 20;
        const int sum = co_await in.submit([captured](int x) { return captured + x; }, 1);
        // Not in one expression: GCC 12 would end what the lambda captures twice.
        auto told = in.submit([sum, p = std::make_unique<int>(1)] { return std::to_string(sum + *p); });
        text = co_await std::move(told);
    };
    std::string text;
    of(pool, text).get();
    CHECK(text == "22");
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    const bool only_threads = argc > 1 && argv[1] == std::string("thread");
    for (const std::uint32_t method : {TASKRING_THREAD, TASKRING_SPAWN}) {
        if (method == TASKRING_SPAWN && only_threads)
            continue;
        taskring::pool pool(make_config(method, 2));
        finished_and_pending(pool);
        failures(pool);
        races(pool);
        destroyed(method);
        pool_ends(method);
    }
    closures();
    std::puts("ok");
}
