// Futures: a task that was submitted, and its result.
#ifndef TASKRING_FUTURE_HPP
#define TASKRING_FUTURE_HPP

#include "events.hpp"

#include <exception>
#include <memory>
#include <optional>
#include <ostream>

namespace taskring {

/// How far a task says that it has come: what is done, of how much; 0 when it does not know.
struct task_progress {
    std::uint64_t done = 0, total = 0;
};

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
    /// Waits for the result and decodes it anew, and takes nothing: it may be asked for again, and in a callback. Throws as get does.
    R result() const { return peek(TASKRING_INFINITE); }
    template <class Rep, class Period> R result_for(std::chrono::duration<Rep, Period> time) const { return peek(detail::nanoseconds(time)); }
    /// Waits for the end of the task and gives what get would throw for it, or nothing when there is a result; takes nothing. Of a cancelled task this
    /// throws cancelled_error.
    std::exception_ptr exception() const { return ending(TASKRING_INFINITE); }
    /// The same, or timeout_error.
    template <class Rep, class Period> std::exception_ptr exception_for(std::chrono::duration<Rep, Period> time) const {
        return ending(detail::nanoseconds(time));
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
    /// Has a callable called once when the task is over: in this thread if it is, else in one of the library's. It should be short, and hand longer work
    /// on: later callbacks of the pool wait for it, and so does the pool's end; no task and no result does. It takes nothing or a const future &, which
    /// is good for the call: the task's number, state, result() and exception() are there, and cancel; but the result is not taken, for that is for this
    /// future to do, which may have been moved, or destroyed: then it throws. What it throws is logged (see set_log), and the other callbacks are called.
    /// It is destroyed afterwards; also when this throws.
    template <class F> void on_done(F &&callable) const {
        using code = std::decay_t<F>;
        static_assert(std::is_invocable_v<code &, const future &> || std::is_invocable_v<code &>, "a callback takes nothing, or a const future &");
        auto kept = std::make_unique<code>(std::forward<F>(callable));
        const auto call_it = [](taskring_pool *in, std::uint64_t number, void *data) noexcept {
            detail::logged("a done-callback", [&] {
                if constexpr (std::is_invocable_v<code &, const future &>) {
                    const lent seen(in, number);
                    (*static_cast<code *>(data))(seen.it);
                } else {
                    (*static_cast<code *>(data))();
                }
            });
        };
        const auto end_it = [](void *data) noexcept { delete static_cast<code *>(data); };
        // The library calls `end_it` also when it refuses.
        detail::check(taskring_on_done(pool_, ticket_, call_it, kept.release(), end_it));
    }
    /// True when the task will never run; a running one is asked to stop.
    bool cancel() const {
        std::uint32_t cancelled = 0;
        detail::check(taskring_cancel(pool_, ticket_, &cancelled));
        return cancelled != 0;
    }
    /// The same, and a running task ends with its worker process, which is killed: true when the task ends as cancelled, which is a moment later then. See
    /// taskring_cancel_hard. What that process does for other pools ends with it. Throws an error with TASKRING_UNSUPPORTED where a worker cannot be killed
    /// alone.
    bool cancel_hard() const {
        std::uint32_t cancelled = 0;
        detail::check(taskring_cancel_hard(pool_, ticket_, &cancelled));
        return cancelled != 0;
    }
    /// How far the task has said last that it has come, by report_progress; nothing when it has not. Also when it is over, or its worker was killed.
    std::optional<task_progress> progress() const {
        task_progress found;
        const taskring_status status = taskring_progress(pool_, ticket_, &found.done, &found.total);
        if (status == TASKRING_NOT_FOUND)
            return std::nullopt;
        detail::check(status);
        return found;
    }
    /// The value that the task has told last, by report; nothing when it has told none. `T` is of the type that was told.
    template <class T> std::optional<T> reported() const {
        char bytes[64];
        std::size_t len = 0;
        const taskring_status status = taskring_reported(pool_, ticket_, bytes, sizeof bytes, &len);
        if (status == TASKRING_NOT_FOUND)
            return std::nullopt;
        detail::check(status);
        return detail::decode_all<T>(bytes, len);
    }
    /// The oldest event that the task has sent, by send_event, and nobody has read; nothing when there is none just now. It does not wait. Events are kept
    /// until they are read or the result is taken (by get, not by result), also when the task is over or its worker was killed. `T` is of the type that was
    /// sent; one that is none is gone, and throws an error with TASKRING_DECODE.
    template <class T> std::optional<T> next_event() const {
        std::optional<T> found;
        const taskring_status status = events<T>().read(0, found);
        if (status != TASKRING_TIMED_OUT && status != TASKRING_END)
            detail::check(status);
        return found;
    }
    /// The task's events as they come: see task_events.
    template <class T> task_events<T> events() const & noexcept { return {pool_, ticket_}; }
    template <class T> task_events<T> events() const && = delete;
    taskring::state state() const {
        std::uint32_t found = 0;
        detail::check(taskring_state(pool_, ticket_, &found));
        return static_cast<taskring::state>(found);
    }
    /// The process that runs the task just now; nothing when none does.
    std::optional<std::uint32_t> worker_pid() const {
        std::uint32_t pid = 0;
        const taskring_status status = taskring_worker_pid(pool_, ticket_, &pid);
        if (status == TASKRING_NOT_FOUND)
            return std::nullopt;
        detail::check(status);
        return pid;
    }
    bool is_cancelled() const { return state() == taskring::state::cancelled; }
    bool is_running() const { return state() == taskring::state::running; }
    /// Whether the task is over, one way or the other: get will not wait.
    bool done() const { return is_over(state()); }
    /// What it is, for people: its number, what the task is doing, in which process it runs, how it ended.
    std::string describe() const {
        if (!valid())
            return "no task";
        std::string text(128, '\0');
        std::size_t len = 0;
        detail::check(taskring_describe(pool_, ticket_, &text[0], text.size(), &len));
        if (len >= text.size()) {
            // It may have gone on meanwhile.
            text.resize(len + 1);
            detail::check(taskring_describe(pool_, ticket_, &text[0], text.size(), &len));
        }
        return text.c_str();
    }
    friend std::ostream &operator<<(std::ostream &to, const future &which) { return to << which.describe(); }
    /// As C knows it.
    taskring_future handle() const noexcept { return {pool_, ticket_}; }
    /// Whether there is a task: false when the result was taken.
    bool valid() const noexcept { return ticket_ != 0; }
    std::uint64_t ticket() const noexcept { return ticket_; }
    taskring_pool *pool() const noexcept { return pool_; }

private:
    /// A future that owns nothing, for a callback.
    struct lent {
        lent(taskring_pool *pool, std::uint64_t ticket) noexcept : it(pool, ticket) {}
        lent(const lent &) = delete;
        lent &operator=(const lent &) = delete;
        ~lent() { it.ticket_ = 0; }
        future it;
    };

    static bool is_over(taskring::state is) noexcept { return is == taskring::state::done || is == taskring::state::cancelled; }

    R peek(std::uint64_t timeout_ns) const {
        std::string bytes(128, '\0');
        std::size_t len = 0;
        taskring_status status = taskring_peek(pool_, ticket_, timeout_ns, &bytes[0], bytes.size(), &len);
        if (status == TASKRING_BUFFER_TOO_SMALL) {
            bytes.resize(len);
            status = taskring_peek(pool_, ticket_, 0, &bytes[0], bytes.size(), &len);
        }
        detail::check(status);
        return detail::decode_all<R>(bytes.data(), len);
    }

    std::exception_ptr ending(std::uint64_t timeout_ns) const {
        taskring_status how = TASKRING_OK;
        detail::check(taskring_outcome(pool_, ticket_, timeout_ns, &how));
        if (how == TASKRING_OK)
            return nullptr;
        try {
            detail::check(how);
        } catch (const cancelled_error &) {
            throw;
        } catch (const error &) {
            return std::current_exception();
        }
        return nullptr;
    }

    void release() noexcept {
        if (ticket_ != 0)
            taskring_release(pool_, std::exchange(ticket_, 0));
    }

    R take(std::uint64_t timeout_ns) {
        return fetch(timeout_ns, [this](taskring_status status, const char *data, std::size_t len) {
            ended(status);
            detail::check(status);
            return detail::decode_all<R>(data, len);
        });
    }

    outcome<R> try_take(std::uint64_t timeout_ns) {
        return fetch(timeout_ns, [this](taskring_status status, const char *data, std::size_t len) -> outcome<R> {
            ended(status);
            if (status != TASKRING_OK)
                return outcome<R>(detail::last_failure(status));
            try {
                if constexpr (std::is_void_v<R>) {
                    detail::decode_all<R>(data, len);
                    return {};
                } else {
                    return detail::decode_all<R>(data, len);
                }
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

    /// The call has used the ticket up, unless it gave up before the task was over.
    void ended(taskring_status status) noexcept {
        const bool is_refused = status == TASKRING_WOULD_DEADLOCK || status == TASKRING_TOO_MANY || status == TASKRING_UNSUPPORTED;
        const bool goes_on = is_refused || status == TASKRING_TIMED_OUT;
        if (!goes_on)
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
