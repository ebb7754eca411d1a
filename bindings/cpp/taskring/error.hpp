// What can go wrong: exceptions for those who call, outcomes for those who ask (the functions that begin with try_).
// docs/errors.md has which one is thrown for which status, with its cause and its fix.
#ifndef TASKRING_ERROR_HPP
#define TASKRING_ERROR_HPP

#include <taskring.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace taskring {

/// The name of a status, such as "TASKRING_FULL", and what it means in a few words. They stay.
inline const char *status_name(taskring_status status) noexcept { return taskring_status_name(status); }
inline const char *status_message(taskring_status status) noexcept { return taskring_status_message(status); }

/// Any status but TASKRING_OK.
class error : public std::runtime_error {
public:
    error(taskring_status status, const std::string &text) : std::runtime_error(text), status_(status) {}
    taskring_status status() const noexcept { return status_; }

private:
    taskring_status status_;
};

/// The task returned an error, threw, or panicked: what() is its own message.
class task_error : public error {
public:
    task_error(taskring_status status, const std::string &text, std::string source = {}) : error(status, text), source_(std::move(source)) {}
    /// What brought it about, as far as the task has said: of an exception with others nested in it, theirs. Empty when there is none.
    const std::string &source() const noexcept { return source_; }

private:
    std::string source_;
};
/// The task, in Rust, panicked.
class panicked_error : public task_error {
    using task_error::task_error;
};
/// The task was cancelled before it started, or killed by cancel_hard.
class cancelled_error : public error {
    using error::error;
};
/// The time allowed went by.
class timeout_error : public error {
    using error::error;
};
/// The worker died while it ran the task.
class worker_lost : public error {
public:
    worker_lost(const std::string &text, const taskring_loss &loss, std::string name = {})
        : error(TASKRING_WORKER_LOST, text), loss_(loss), name_(std::move(name)) {}
    const taskring_loss &loss() const noexcept { return loss_; }
    /// The worker's name, as worker_name gave it there. Empty when it had none.
    const std::string &name() const noexcept { return name_; }

private:
    taskring_loss loss_;
    std::string name_;
};

/// The pool cannot run tasks any more.
class broken_executor : public error {
    using error::error;
};
/// The same of a pool whose workers are processes, or others'.
class broken_process_pool : public broken_executor {
    using broken_executor::broken_executor;
};
/// The same of a pool whose workers are threads.
class broken_thread_pool : public broken_executor {
    using broken_executor::broken_executor;
};
/// The same of a pool whose workers are interpreters, which are threads.
class broken_interpreter_pool : public broken_thread_pool {
    using broken_thread_pool::broken_thread_pool;
};
/// The pool was shut down, and takes no new tasks.
class shut_down_error : public error {
    using error::error;
};
/// A task would wait for one that waits for it in its turn.
class would_deadlock_error : public error {
    using error::error;
};
/// The pool's workers were ended before the task was over.
class terminated_error : public error {
    using error::error;
};
/// The task ran longer than its hard time limit, and was killed with its worker.
class time_limit_error : public error {
    using error::error;
};
/// A parameter is out of its range, or a handle no good.
class invalid_argument_error : public error {
    using error::error;
};
/// The task is in a state in which this cannot be done: its result was taken, or it has one already.
class invalid_state_error : public error {
    using error::error;
};

namespace detail {

/// Why a call did not succeed, for longer than until this thread's next one.
struct failure {
    taskring_status status = TASKRING_OK;
    std::string message;
    taskring_loss loss{};
    /// Of a broken pool: what its workers are.
    std::uint32_t pool_kind = TASKRING_POOL_OF_PROCESSES;
    /// Of a failed task what brought it about.
    std::string source{};
    /// The name of a lost worker.
    std::string worker{};
};

/// What the library has to say of the call that this thread just made.
inline failure last_failure(taskring_status status) {
    failure why{status, taskring_last_error()};
    if (status == TASKRING_WORKER_LOST) {
        taskring_last_loss(&why.loss);
        why.worker = taskring_last_worker();
    }
    if (status == TASKRING_TASK_FAILED)
        why.source = taskring_last_source();
    if (status == TASKRING_BROKEN)
        taskring_last_broken(&why.pool_kind);
    return why;
}

[[noreturn]] inline void fail(const failure &why) {
    switch (why.status) {
    case TASKRING_TASK_FAILED:
        throw task_error(why.status, why.message, why.source);
    case TASKRING_PANICKED:
        throw panicked_error(why.status, why.message);
    case TASKRING_CANCELLED:
        throw cancelled_error(why.status, why.message);
    case TASKRING_TIMED_OUT:
        throw timeout_error(why.status, why.message);
    case TASKRING_WORKER_LOST:
        throw worker_lost(why.message, why.loss, why.worker);
    case TASKRING_BROKEN:
        if (why.pool_kind == TASKRING_POOL_OF_INTERPRETERS)
            throw broken_interpreter_pool(why.status, why.message);
        if (why.pool_kind == TASKRING_POOL_OF_THREADS)
            throw broken_thread_pool(why.status, why.message);
        throw broken_process_pool(why.status, why.message);
    case TASKRING_SHUT_DOWN:
        throw shut_down_error(why.status, why.message);
    case TASKRING_WOULD_DEADLOCK:
        throw would_deadlock_error(why.status, why.message);
    case TASKRING_TERMINATED:
        throw terminated_error(why.status, why.message);
    case TASKRING_TIME_LIMIT:
        throw time_limit_error(why.status, why.message);
    case TASKRING_INVALID_ARGUMENT:
        throw invalid_argument_error(why.status, why.message);
    case TASKRING_STALE:
    case TASKRING_INVALID_STATE:
        throw invalid_state_error(why.status, why.message);
    default:
        throw error(why.status, why.message);
    }
}

inline void check(taskring_status status) {
    if (status != TASKRING_OK)
        fail(last_failure(status));
}

/// Runs code that nobody catches for: what it throws is handed to the logger, and what comes after it goes on.
template <class F> void logged(const char *what, F &&code) noexcept {
    const auto say = [what](const char *thrown) {
        char text[512];
        std::snprintf(text, sizeof text, "%s threw: %s", what, thrown);
        taskring_log(TASKRING_LOG_ERROR, text);
    };
    try {
        std::forward<F>(code)();
    } catch (const std::exception &e) {
        say(e.what());
    } catch (...) {
        say("an exception that is no std::exception");
    }
}

template <class Rep, class Period> std::uint64_t nanoseconds(std::chrono::duration<Rep, Period> time) {
    // Beyond what 63 bits of nanoseconds hold, which is 292 years, it is for ever.
    if (std::chrono::duration<double>(time).count() >= 9.2e9)
        return TASKRING_INFINITE;
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
}

} // namespace detail

/// A value, or why there is none. Nothing is thrown until value() is asked for what is not there.
template <class T> class [[nodiscard]] outcome {
public:
    outcome(T value) : value_(std::move(value)) {}
    explicit outcome(detail::failure why) : why_(std::move(why)) {}

    /// Whether there is a value, whatever it is.
    explicit operator bool() const noexcept { return value_.has_value(); }
    taskring_status status() const noexcept { return why_.status; }
    /// What the exception's what() would be; of a value, nothing.
    const std::string &message() const noexcept { return why_.message; }
    /// How the worker was lost: all zero unless the status is TASKRING_WORKER_LOST.
    const taskring_loss &loss() const noexcept { return why_.loss; }
    /// The lost worker's name, as worker_lost::name says it.
    const std::string &worker() const noexcept { return why_.worker; }
    /// What brought a failed task's error about, as task_error::source says it.
    const std::string &source() const noexcept { return why_.source; }
    /// When the status is TASKRING_BROKEN, what the workers of the pool are: TASKRING_POOL_OF_PROCESSES and so on.
    std::uint32_t pool_kind() const noexcept { return why_.pool_kind; }

    /// The value, which must be there.
    T &operator*() & noexcept { return *value_; }
    const T &operator*() const & noexcept { return *value_; }
    T &&operator*() && noexcept { return *std::move(value_); }
    T *operator->() noexcept { return &*value_; }
    const T *operator->() const noexcept { return &*value_; }
    /// The value; without one this throws what the function without try_ throws.
    T &value() & { return known(), *value_; }
    const T &value() const & { return known(), *value_; }
    T &&value() && { return known(), *std::move(value_); }

private:
    void known() const {
        if (!value_)
            detail::fail(why_);
    }

    std::optional<T> value_;
    detail::failure why_;
};

/// Whether it was done, or why not.
template <> class [[nodiscard]] outcome<void> {
public:
    outcome() = default;
    explicit outcome(detail::failure why) : why_(std::move(why)) {}

    explicit operator bool() const noexcept { return why_.status == TASKRING_OK; }
    taskring_status status() const noexcept { return why_.status; }
    const std::string &message() const noexcept { return why_.message; }
    const taskring_loss &loss() const noexcept { return why_.loss; }
    const std::string &worker() const noexcept { return why_.worker; }
    const std::string &source() const noexcept { return why_.source; }
    std::uint32_t pool_kind() const noexcept { return why_.pool_kind; }
    void operator*() const noexcept {}
    void value() const {
        if (why_.status != TASKRING_OK)
            detail::fail(why_);
    }

private:
    detail::failure why_;
};

} // namespace taskring

#endif
