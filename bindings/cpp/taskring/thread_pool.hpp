// Pools whose workers are threads of this process, and can run any code of it.
#ifndef TASKRING_THREAD_POOL_HPP
#define TASKRING_THREAD_POOL_HPP

#include "pool.hpp"

#include <atomic>

namespace taskring {
namespace detail {

/// A callable and its arguments, under way to a thread of this process by their address.
///
/// It belongs to the done-callback of its task, which is called however the task ends. Should the callback be refused, the task is in the ring all the
/// same: then whoever is the last to leave it, submitter or worker, deletes it.
class closure {
public:
    virtual ~closure() = default;

    /// The task function of all closures.
    static std::int32_t call(taskring_call *call, void *) noexcept {
        std::size_t len = 0;
        const void *args = taskring_call_args(call, &len);
        closure *it = nullptr;
        if (len != sizeof it)
            return 1;
        std::memcpy(&it, args, sizeof it);
        const std::int32_t status = answer(call, [it] { return it->run(); });
        it->leave();
        return status;
    }
    static void done(taskring_pool *, std::uint64_t, void *context) noexcept { static_cast<closure *>(context)->is_done_ = true; }
    static void end(void *context) noexcept {
        closure *it = static_cast<closure *>(context);
        if (it->is_done_)
            delete it;
    }
    /// After a refused callback, for the submitter; the worker's call comes to nothing otherwise.
    void leave() noexcept {
        if (is_left_.exchange(true))
            delete this;
    }

private:
    virtual std::string run() = 0;

    /// The callback was called, and the context's end is the closure's.
    bool is_done_ = false;
    /// Submitter or worker was here.
    std::atomic<bool> is_left_{false};
};

template <class F, class... A> class closure_of final : public closure {
public:
    using result_type = std::decay_t<std::invoke_result_t<F, A...>>;
    template <class... G> explicit closure_of(G &&...given) : code_(std::in_place, std::forward<G>(given)...) {}

private:
    std::string run() override {
        struct reset {
            std::optional<std::tuple<F, A...>> &code;
            ~reset() { code.reset(); }
        } const end_before_the_task{code_};
        return encoded_result<result_type>([this]() -> decltype(auto) {
            return std::apply([](F &f, A &...args) -> decltype(auto) { return std::invoke(std::move(f), std::move(args)...); }, *code_);
        });
    }

    std::optional<std::tuple<F, A...>> code_;
};

/// The name of the function that runs closures, registered at the first call. It is this process's own: no other program's worker has it.
inline const std::string &closure_function() {
    static const std::string name = [] {
        static const char here = 0;
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        std::string own = "closures at " + std::to_string(reinterpret_cast<std::uintptr_t>(&here)) + " since " + std::to_string(now);
        check(taskring_register(own.c_str(), closure::call, nullptr, nullptr));
        return own;
    }();
    return name;
}

} // namespace detail

/// A pool of threads: submit takes any callable with its arguments, also with captures and move-only ones, which it copies or moves in.
///
/// A callable is called once at most. It is destroyed once: after the call and before its task is over; if it is never called (the task was cancelled,
/// discarded, or could not be submitted), when that is certain, in whatever thread. A rule for retries is for tasks with a name: a closure is called once. Its result goes through codec as any other.
class thread_pool : public pool {
public:
    explicit thread_pool(const config &chosen = config()) : pool(of_threads(chosen)), retries_(has_rule(chosen.task_retry)) {}
    static outcome<thread_pool> try_make(const config &chosen = config()) {
        taskring_pool *made = nullptr;
        const config threads = of_threads(chosen);
        const taskring_status status = taskring_create(&threads, &made);
        outcome<thread_pool> given = owned<thread_pool>(status, made);
        if (given)
            given->retries_ = has_rule(chosen.task_retry);
        return given;
    }

    /// Submits a callable; waits while the ring is full.
    template <class F, class... G, detail::if_code<F> = 0> auto submit(F &&code, G &&...args) {
        return launch(TASKRING_INFINITE, nullptr, std::forward<F>(code), std::forward<G>(args)...).value();
    }
    template <class F, class... G, detail::if_code<F> = 0> auto submit(const options &how, F &&code, G &&...args) {
        return launch(TASKRING_INFINITE, how.get(), std::forward<F>(code), std::forward<G>(args)...).value();
    }
    /// The same, if there is room now: TASKRING_FULL if not.
    template <class F, class... G, detail::if_code<F> = 0> auto try_submit(F &&code, G &&...args) {
        return launch(0, nullptr, std::forward<F>(code), std::forward<G>(args)...);
    }
    template <class F, class... G, detail::if_code<F> = 0> auto try_submit(const options &how, F &&code, G &&...args) {
        return launch(0, how.get(), std::forward<F>(code), std::forward<G>(args)...);
    }
    /// The same, if there is room within a time: TASKRING_TIMED_OUT if not.
    template <class Rep, class Period, class F, class... G, detail::if_code<F> = 0>
    auto try_submit_for(std::chrono::duration<Rep, Period> time, F &&code, G &&...args) {
        return launch(detail::nanoseconds(time), nullptr, std::forward<F>(code), std::forward<G>(args)...);
    }
    template <class Rep, class Period, class F, class... G, detail::if_code<F> = 0>
    auto try_submit_for(std::chrono::duration<Rep, Period> time, const options &how, F &&code, G &&...args) {
        return launch(detail::nanoseconds(time), how.get(), std::forward<F>(code), std::forward<G>(args)...);
    }

    /// Tasks as in any pool.
    using pool::try_submit_for;
    template <class S, class... G> auto submit(task<S> which, G &&...args) { return pool::submit(which, std::forward<G>(args)...); }
    template <class S, class... G> auto submit(const options &how, task<S> which, G &&...args) {
        return pool::submit(how, which, std::forward<G>(args)...);
    }
    template <class S, class... G> auto try_submit(task<S> which, G &&...args) { return pool::try_submit(which, std::forward<G>(args)...); }
    template <class S, class... G> auto try_submit(const options &how, task<S> which, G &&...args) {
        return pool::try_submit(how, which, std::forward<G>(args)...);
    }

private:
    friend class pool;
    explicit thread_pool(taskring_pool *made) : pool(made) {}

    static bool has_rule(const taskring_retry &rule) noexcept { return rule.attempts != 0; }

    static config of_threads(config chosen) {
        // Before the pool is: its workers look once for what they can run.
        detail::closure_function();
        chosen.start_method = TASKRING_THREAD;
        return chosen;
    }

    template <class F, class... G> auto launch(std::uint64_t timeout_ns, const taskring_options *how, F &&code, G &&...args) {
        static_assert(std::is_invocable_v<std::decay_t<F>, std::decay_t<G>...>, "this cannot be called with these arguments");
        using kept = detail::closure_of<std::decay_t<F>, std::decay_t<G>...>;
        using given = outcome<future<typename kept::result_type>>;
        std::unique_ptr<detail::closure> closure = std::make_unique<kept>(std::forward<F>(code), std::forward<G>(args)...);
        detail::closure *const address = closure.get();
        std::uint32_t function = 0;
        std::uint64_t ticket = 0;
        // It is gone after its call, whatever a rule for retries says. Where there is none this costs nothing.
        taskring_options once = TASKRING_OPTIONS_INIT;
        if (retries_ || (how != nullptr && has_rule(how->retry))) {
            if (how != nullptr)
                once = *how;
            once.retry = retry::never().get();
            how = &once;
        }
        taskring_status status = number(detail::closure_function().c_str(), function);
        if (status == TASKRING_OK)
            status = taskring_submit_timed(get(), function, &address, sizeof address, how, timeout_ns, &ticket);
        if (status != TASKRING_OK)
            return given(detail::last_failure(status));
        status = taskring_on_done(get(), ticket, detail::closure::done, closure.release(), detail::closure::end);
        future<typename kept::result_type> submitted(get(), ticket);
        if (status == TASKRING_OK)
            return given(std::move(submitted));
        auto why = detail::last_failure(status);
        taskring_cancel(get(), ticket, nullptr);
        if (taskring_wait(get(), ticket, 0) == TASKRING_OK)
            delete address;
        else
            address->leave();
        return given(std::move(why));
    }

    /// Its tasks have a rule for retries.
    bool retries_ = false;
};

} // namespace taskring

#endif
