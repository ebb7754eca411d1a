// Futures: a task that was submitted, and its result.
#ifndef TASKRING_FUTURE_HPP
#define TASKRING_FUTURE_HPP

#include "codec.hpp"

#include <memory>

namespace taskring {

enum class state { pending = TASKRING_PENDING, running = TASKRING_RUNNING, cancelled = TASKRING_STATE_CANCELLED, done = TASKRING_DONE };

/// A task that was submitted. Destroying it lets the task run and drops its result. It must not outlive its pool.
template <class R> class future {
public:
    using result_type = R;
    future() noexcept = default;
    future(taskring_pool *pool, std::uint64_t ticket) noexcept : pool_(pool), ticket_(ticket) {}
    future(future &&other) noexcept : pool_(other.pool_), ticket_(std::exchange(other.ticket_, 0)) {}
    future &operator=(future &&other) noexcept {
        if (this != &other) {
            release();
            pool_ = other.pool_;
            ticket_ = std::exchange(other.ticket_, 0);
        }
        return *this;
    }
    ~future() { release(); }

    /// Waits for the result and takes it: once.
    R get() { return take(TASKRING_INFINITE); }
    /// The same within a time, after which the future is still good.
    template <class Rep, class Period> R get_for(std::chrono::duration<Rep, Period> time) { return take(detail::nanoseconds(time)); }
    /// The same, without exceptions for how a task can end. After TASKRING_TIMED_OUT the future is still good.
    outcome<R> try_get() { return try_take(TASKRING_INFINITE); }
    template <class Rep, class Period> outcome<R> try_get_for(std::chrono::duration<Rep, Period> time) {
        return try_take(detail::nanoseconds(time));
    }
    /// Waits until the task is over: false when the time was over before.
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> time) const {
        const taskring_status status = taskring_wait(pool_, ticket_, detail::nanoseconds(time));
        if (status == TASKRING_TIMED_OUT)
            return false;
        detail::check(status);
        return true;
    }
    void wait() const { detail::check(taskring_wait(pool_, ticket_, TASKRING_INFINITE)); }
    /// Waits for the result and lends its bytes, as they were encoded, aligned to 16: they are good until the future is destroyed or gives its result
    /// away. Throws as get does.
    std::string_view view() {
        const void *data = nullptr;
        std::size_t len = 0;
        settle(taskring_view(pool_, ticket_, TASKRING_INFINITE, &data, &len));
        return {static_cast<const char *>(data), len};
    }
    /// Has a callable called once when the task is over: in this thread if it is, else in one of the library's, where it delays others. What it throws
    /// ends the program. It is destroyed afterwards; also when this throws.
    template <class F> void on_done(F &&callable) const {
        using code = std::decay_t<F>;
        auto kept = std::make_unique<code>(std::forward<F>(callable));
        const auto call_it = [](taskring_pool *, std::uint64_t, void *data) noexcept { (*static_cast<code *>(data))(); };
        const auto end_it = [](void *data) noexcept { delete static_cast<code *>(data); };
        // The library calls `end_it` also when it refuses.
        detail::check(taskring_on_done(pool_, ticket_, call_it, kept.release(), end_it));
    }
    /// True when the task will never run; a running one is asked to stop.
    bool cancel() {
        std::uint32_t cancelled = 0;
        detail::check(taskring_cancel(pool_, ticket_, &cancelled));
        return cancelled != 0;
    }
    taskring::state state() const {
        std::uint32_t found = 0;
        detail::check(taskring_state(pool_, ticket_, &found));
        return static_cast<taskring::state>(found);
    }
    /// Whether there is a task: false when the result was taken.
    bool valid() const noexcept { return ticket_ != 0; }
    std::uint64_t ticket() const noexcept { return ticket_; }
    taskring_pool *pool() const noexcept { return pool_; }

private:
    void release() noexcept {
        if (ticket_ != 0)
            taskring_release(pool_, std::exchange(ticket_, 0));
    }

    R take(std::uint64_t timeout_ns) {
        return fetch(timeout_ns, [this](taskring_status status, const char *data, std::size_t len) {
            ended(status);
            detail::check(status);
            return decode(data, len);
        });
    }

    outcome<R> try_take(std::uint64_t timeout_ns) {
        return fetch(timeout_ns, [this](taskring_status status, const char *data, std::size_t len) -> outcome<R> {
            ended(status);
            if (status != TASKRING_OK)
                return outcome<R>(detail::last_failure(status));
            try {
                if constexpr (std::is_void_v<R>)
                    return {};
                else
                    return decode(data, len);
            } catch (const error &e) {
                return outcome<R>(detail::failure{e.status(), e.what(), {}});
            }
        });
    }

    /// Takes the result for `use`, which gets the status and the bytes.
    template <class F> auto fetch(std::uint64_t timeout_ns, F use) {
        char small[128];
        std::size_t len = 0;
        taskring_status status = taskring_result(pool_, ticket_, timeout_ns, small, sizeof small, &len);
        if (status == TASKRING_BUFFER_TOO_SMALL) {
            std::unique_ptr<char[]> large(new char[len]);
            status = taskring_result(pool_, ticket_, 0, large.get(), len, &len);
            return use(status, static_cast<const char *>(large.get()), len);
        }
        return use(status, static_cast<const char *>(small), len);
    }

    static R decode(const char *data, std::size_t len) {
        [[maybe_unused]] reader from(data, len);
        if constexpr (!std::is_void_v<R>)
            return codec<R>::decode(from);
    }

    /// The call has used the ticket up, unless it gave up before the task was over.
    void ended(taskring_status status) noexcept {
        if (status != TASKRING_TIMED_OUT)
            ticket_ = 0;
    }

    void settle(taskring_status status) {
        if (status != TASKRING_OK) {
            ended(status);
            detail::check(status);
        }
    }

    taskring_pool *pool_ = nullptr;
    std::uint64_t ticket_ = 0;
};

} // namespace taskring

#endif
