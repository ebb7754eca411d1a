// Futures in coroutines: co_await std::move(future), co_await pool.submit(...).
//
// It gives the result or throws as get does. When the task is over by then, the coroutine goes on in its own thread; otherwise it is resumed in a
// thread of the library, where it delays the callbacks of the pool's other tasks: hand long work on to a thread of your own. What it lets out of
// resume there is logged. A suspended coroutine may be destroyed; the task goes on, and the callback finds nobody.
// Destroying the pool waits for its tasks, and for the coroutines that they resume up to their next await.
//
// GCC 12, among others, ends twice what a lambda within a co_await expression has captured: submit it first, and then await the future.
//
//     callback                                     awaiting thread
//     turn := over                                 taskring_on_done
//     it was `suspended`: resume                   turn: starting -> suspended, and from then on not a look at anything of the coroutine's
//     else: whoever awaits sees it                 it was `over`: do not suspend
#ifndef TASKRING_AWAIT_HPP
#define TASKRING_AWAIT_HPP

#include "future.hpp"

#if defined(__cpp_impl_coroutine) && __has_include(<coroutine>)
#include <atomic>
#include <coroutine>

namespace taskring {
namespace detail {

/// A coroutine that awaits a task, as the callback sees it. It belongs to both.
struct awaiting {
    enum turns : int { starting, suspended, over };
    explicit awaiting(std::coroutine_handle<> coroutine) noexcept : who(coroutine) {}
    std::coroutine_handle<> who;
    std::atomic<int> turn{starting};
};

template <class R> class awaiter {
public:
    explicit awaiter(future<R> task) noexcept : task_(std::move(task)) {}
    awaiter(const awaiter &) = delete;
    awaiter &operator=(const awaiter &) = delete;
    ~awaiter() {
        if (shared_)
            shared_->turn.exchange(awaiting::over);
    }

    bool await_ready() const noexcept { return false; }

    /// What it throws is thrown again where the coroutine awaits.
    bool await_suspend(std::coroutine_handle<> who) {
        using owner = std::shared_ptr<awaiting>;
        shared_ = std::make_shared<awaiting>(who);
        auto kept = std::make_unique<owner>(shared_);
        const auto call_it = [](taskring_pool *, std::uint64_t, void *data) noexcept {
            awaiting &it = **static_cast<owner *>(data);
            if (it.turn.exchange(awaiting::over) == awaiting::suspended)
                logged("a coroutine that a task resumed", [&it] { it.who.resume(); });
        };
        const auto end_it = [](void *data) noexcept { delete static_cast<owner *>(data); };
        // The library calls `end_it` also when it refuses.
        check(taskring_on_done(task_.pool(), task_.ticket(), call_it, kept.release(), end_it));
        const owner own = shared_;
        int turn = awaiting::starting;
        return own->turn.compare_exchange_strong(turn, awaiting::suspended);
    }

    R await_resume() { return task_.get(); }

private:
    future<R> task_;
    std::shared_ptr<awaiting> shared_;
};

} // namespace detail

template <class R> detail::awaiter<R> operator co_await(future<R> &&task) noexcept { return detail::awaiter<R>(std::move(task)); }

} // namespace taskring
#endif

#endif
