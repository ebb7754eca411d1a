// Promises: futures that the program completes itself.
#ifndef TASKRING_PROMISE_HPP
#define TASKRING_PROMISE_HPP

#include "future.hpp"

#include <exception>

namespace taskring {

/// The other end of a future, for results that come from elsewhere than a pool. The future is one like those that submit gives: it can be waited for
/// together with them, and cancelled. A promise that is destroyed before it was completed ends its future: with cancelled_error while it is pending, and
/// with task_error when it was set running. Any thread may use a promise, apart from get_future; a normal end of the process waits for
/// the callbacks of promises that are over, and not for others.
template <class R> class promise {
public:
    using result_type = R;
    promise() {
        taskring_promise *made = nullptr;
        taskring_future ticket{};
        detail::check(taskring_promise_new(&made, &ticket));
        handle_.reset(made);
        future_ = future<R>(ticket.pool, ticket.ticket);
    }

    /// The future: once.
    future<R> get_future() {
        if (!future_.valid())
            throw invalid_state_error(TASKRING_INVALID_STATE, "the future of this promise was given before");
        return std::move(future_);
    }
    /// Says that the work begins: true, and the future can no longer be cancelled. False when it was cancelled before; whoever waits for it has heard of
    /// that already, so this may be left out, and called again. Throws invalid_state_error when the promise was set running or completed before.
    bool set_running_or_notify_cancel() {
        std::uint32_t running = 0;
        detail::check(taskring_promise_set_running_or_notify_cancel(get(), &running));
        return running != 0;
    }
    /// Ends it with a result, whether it was set running before or not. Throws invalid_state_error when the future was cancelled, or the promise
    /// completed before: then nothing was changed.
    template <class V> void set_result(V &&value) {
        static_assert(std::is_constructible_v<R, V>, "this is not the promise's result");
        std::string bytes;
        if constexpr (std::is_same_v<std::remove_cv_t<std::remove_reference_t<V>>, R>)
            codec<R>::encode(value, bytes);
        else
            codec<R>::encode(static_cast<R>(std::forward<V>(value)), bytes);
        detail::check(taskring_promise_set_result(get(), bytes.data(), bytes.size()));
    }
    void set_result() {
        static_assert(std::is_void_v<R>, "this promise wants a result");
        detail::check(taskring_promise_set_result(get(), nullptr, 0));
    }
    /// The same with an error: get throws task_error with this message.
    void set_error(const std::string &message) { detail::check(taskring_promise_set_error(get(), message.c_str())); }
    /// The same with an exception's what().
    void set_exception(const std::exception_ptr &why) {
        try {
            std::rethrow_exception(why);
        } catch (const std::exception &e) {
            set_error(e.what());
        } catch (...) {
            set_error("an exception that is no std::exception");
        }
    }
    /// Whether the future of a running promise was asked to cancel it.
    bool cancel_requested() const {
        std::uint32_t requested = 0;
        detail::check(taskring_promise_cancel_requested(get(), &requested));
        return requested != 0;
    }
    taskring_promise *get() const noexcept { return handle_.get(); }

private:
    struct free_promise {
        void operator()(taskring_promise *promise) const noexcept { taskring_promise_free(promise); }
    };

    /// Until it is asked for. The promise ends before it, and so tells it.
    future<R> future_;
    std::unique_ptr<taskring_promise, free_promise> handle_;
};

} // namespace taskring

#endif
