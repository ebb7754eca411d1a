// Pools: making them, submitting to them, ending them.
#ifndef TASKRING_POOL_HPP
#define TASKRING_POOL_HPP

#include "loan.hpp"
#include "options.hpp"
#include "results.hpp"
#include "task.hpp"

#include <map>
#include <mutex>

namespace taskring {
namespace detail {

/// Not a task and not options: code.
template <class F> inline constexpr bool is_code = !is_task<std::decay_t<F>> && !std::is_convertible_v<F, const options &>;
template <class F> using if_code = std::enable_if_t<is_code<F>, int>;

template <class It, class = void> inline constexpr bool is_iterator = false;
template <class It> inline constexpr bool is_iterator<It, std::void_t<decltype(*std::declval<It &>()), decltype(++std::declval<It &>())>> = true;

template <class F> void refuse_code() {
    static_assert(never<F>, "a lambda with captures cannot be a task: a worker in another process would not have what it captured; "
                            "declare a taskring::task and define it, or use a taskring::thread_pool");
}

} // namespace detail

/// What pool::shutdown_within had to do at its limit: nothing when everything had ended by then.
struct ending {
    /// Tasks that had not started, and were cancelled.
    std::uint64_t cancelled = 0;
    /// Workers that were there still, and were killed.
    std::uint64_t killed = 0;
};

/// A process pool. Destroying it waits for everything that was submitted; where the end of the process does so, as with a pool in static storage, no longer
/// than exit_wait_max_ns and detach_on_exit of its config allow (see there for what that takes).
class pool {
public:
    explicit pool(const config &chosen = config()) {
        taskring_pool *made = nullptr;
        detail::check(taskring_create(&chosen, &made));
        pool_.reset(made);
    }
    static outcome<pool> try_make(const config &chosen = config()) {
        taskring_pool *made = nullptr;
        const taskring_status status = taskring_create(&chosen, &made);
        return owned<pool>(status, made);
    }
    /// A pool that other programs attach to.
    static pool create_named(const std::string &name, const config &chosen = config()) { return try_create_named(name, chosen).value(); }
    static outcome<pool> try_create_named(const std::string &name, const config &chosen = config()) {
        taskring_pool *made = nullptr;
        const taskring_status status = taskring_create_named(&chosen, name.c_str(), &made);
        return owned<pool>(status, made);
    }
    static pool attach(const std::string &name) { return try_attach(name).value(); }
    static outcome<pool> try_attach(const std::string &name) {
        taskring_pool *made = nullptr;
        const taskring_status status = taskring_attach(name.c_str(), &made);
        return owned<pool>(status, made);
    }

    /// In a task: the pool that runs it, to submit to. See taskring_current_pool.
    static pool current() {
        taskring_pool *made = nullptr;
        detail::check(taskring_current_pool(&made));
        return pool(made);
    }

    /// Submits a task; waits while the ring is full.
    template <class R, class... A, class... G> future<R> submit(task<R(A...)> which, G &&...args) {
        return send(TASKRING_INFINITE, nullptr, which, std::forward<G>(args)...).value();
    }
    /// The same with options, or into a set.
    template <class R, class... A, class... G> future<R> submit(const options &how, task<R(A...)> which, G &&...args) {
        return send(TASKRING_INFINITE, how.get(), which, std::forward<G>(args)...).value();
    }
    /// The same, if there is room now: TASKRING_FULL if not.
    template <class R, class... A, class... G> outcome<future<R>> try_submit(task<R(A...)> which, G &&...args) {
        return send(0, nullptr, which, std::forward<G>(args)...);
    }
    template <class R, class... A, class... G> outcome<future<R>> try_submit(const options &how, task<R(A...)> which, G &&...args) {
        return send(0, how.get(), which, std::forward<G>(args)...);
    }
    /// The same, if there is room within a time: TASKRING_TIMED_OUT if not.
    template <class Rep, class Period, class R, class... A, class... G>
    outcome<future<R>> try_submit_for(std::chrono::duration<Rep, Period> time, task<R(A...)> which, G &&...args) {
        return send(detail::nanoseconds(time), nullptr, which, std::forward<G>(args)...);
    }
    template <class Rep, class Period, class R, class... A, class... G>
    outcome<future<R>> try_submit_for(std::chrono::duration<Rep, Period> time, const options &how, task<R(A...)> which, G &&...args) {
        return send(detail::nanoseconds(time), how.get(), which, std::forward<G>(args)...);
    }
    /// Submits a task for each input of a range, many at a time, and gives their futures in the order of the inputs. Each input is an argument, or a tuple of
    /// them for a task with several. What the inputs throw comes out of this call, with nothing submitted. When it throws for another reason, what was
    /// submitted runs. Waits while the ring is full. See taskring_submit_bulk.
    template <class R, class... A, class Range> std::vector<future<R>> submit_bulk(task<R(A...)> which, Range &&inputs) {
        return submit_bulk(options(), which, std::forward<Range>(inputs));
    }
    template <class R, class... A, class Range> std::vector<future<R>> submit_bulk(const options &how, task<R(A...)> which, Range &&inputs) {
        detail::inputs_of<task<R(A...)>, Range> from(std::forward<Range>(inputs));
        std::string bytes;
        std::vector<std::size_t> ends;
        taskring_bytes one{};
        while (detail::inputs::read(&from, &one) == 1) {
            bytes.append(static_cast<const char *>(one.data), one.len);
            ends.push_back(bytes.size());
        }
        from.rethrow(ends.size());
        std::vector<taskring_bytes> args;
        args.reserve(ends.size());
        std::size_t at = 0;
        for (const std::size_t end : ends) {
            args.push_back({bytes.data() + at, end - at});
            at = end;
        }
        std::uint32_t function = 0;
        detail::check(number(which.name(), function));
        std::vector<std::uint64_t> tickets(args.size());
        std::vector<future<R>> all;
        all.reserve(args.size());
        std::size_t count = 0;
        const auto status = taskring_submit_bulk(get(), function, args.data(), args.size(), how.get(), tickets.data(), &count);
        for (std::size_t i = 0; i < count; i++)
            all.push_back(future<R>(get(), tickets[i]));
        detail::check(status);
        return all;
    }
    /// Submits a task for the worker of this number. See taskring_submit_to.
    template <class R, class... A, class... G> future<R> submit_to(std::uint32_t worker, task<R(A...)> which, G &&...args) {
        return submit_to(worker, options(), which, std::forward<G>(args)...);
    }
    template <class R, class... A, class... G> future<R> submit_to(std::uint32_t worker, const options &how, task<R(A...)> which, G &&...args) {
        std::string bytes;
        detail::encode_arguments(which, bytes, std::forward<G>(args)...);
        std::uint32_t function = 0;
        std::uint64_t ticket = 0;
        detail::check(number(which.name(), function));
        detail::check(taskring_submit_to(get(), worker, function, bytes.data(), bytes.size(), how.get(), TASKRING_INFINITE, &ticket));
        return future<R>(get(), ticket);
    }
    /// Submits a task once for every worker. See taskring_broadcast. When this throws, what was submitted runs.
    template <class R, class... A, class... G> std::vector<future<R>> broadcast(task<R(A...)> which, G &&...args) {
        return broadcast(options(), which, std::forward<G>(args)...);
    }
    template <class R, class... A, class... G> std::vector<future<R>> broadcast(const options &how, task<R(A...)> which, G &&...args) {
        constexpr std::size_t most = TASKRING_BROADCAST_MAX;
        std::string bytes;
        detail::encode_arguments(which, bytes, std::forward<G>(args)...);
        std::uint32_t function = 0;
        std::vector<std::uint64_t> tickets(most);
        std::vector<future<R>> all;
        all.reserve(most);
        detail::check(number(which.name(), function));
        std::size_t count = 0;
        const auto status = taskring_broadcast(get(), function, bytes.data(), bytes.size(), how.get(), tickets.data(), most, &count);
        for (std::size_t i = 0; i < count; i++)
            all.push_back(future<R>(get(), tickets[i]));
        detail::check(status);
        return all;
    }
    /// Submits a task whose arguments are a loan. When this throws, the loan stays as it is.
    template <class R, class... A> future<R> submit(task<R(A...)> which, taskring::loan &&lent) {
        return submit(options(), which, std::move(lent));
    }
    template <class R, class... A> future<R> submit(const options &how, task<R(A...)> which, taskring::loan &&lent) {
        std::uint32_t function = 0;
        std::uint64_t ticket = 0;
        detail::check(number(which.name(), function));
        detail::check(taskring_submit_loan(get(), function, lent.number(), lent.size(), how.get(), TASKRING_INFINITE, &ticket));
        lent.number_ = 0;
        return future<R>(get(), ticket);
    }
    /// Code that is no task is for a thread_pool.
    template <class F, class... G, detail::if_code<F> = 0> void submit(F &&, G &&...) { detail::refuse_code<F>(); }
    template <class F, class... G, detail::if_code<F> = 0> void submit(const options &, F &&, G &&...) { detail::refuse_code<F>(); }
    template <class F, class... G, detail::if_code<F> = 0> void try_submit(F &&, G &&...) { detail::refuse_code<F>(); }

    /// Runs a task over the inputs of a range; work starts at this call. A range that is not given away must outlive the results. Each input is an
    /// argument, or a tuple of them for a task with several.
    template <class R, class... A, class Range>
    results<R> map(task<R(A...)> which, Range &&inputs, const map_options &how = map_options()) {
        std::uint32_t function = 0;
        detail::check(number(which.name(), function));
        using kept = detail::inputs_of<task<R(A...)>, Range>;
        return results<R>(get(), function, std::make_unique<kept>(std::forward<Range>(inputs)), how);
    }
    template <class R, class... A, class It, class End, std::enable_if_t<detail::is_iterator<It>, int> = 0>
    results<R> map(task<R(A...)> which, It first, End last, const map_options &how = map_options()) {
        return map(which, detail::between<It, End>{std::move(first), std::move(last)}, how);
    }

    task_set new_set() { return task_set(get()); }
    /// A block of shared memory for a task's arguments.
    taskring::loan loan(std::size_t len) { return taskring::loan(get(), len); }
    /// No new tasks from now on. See taskring_shutdown.
    void shutdown(bool wait, bool cancel_pending) { detail::check(taskring_shutdown(get(), wait, cancel_pending)); }
    /// The same that waits, but not longer than a limit; then it cancels what is pending and kills the workers. See taskring_shutdown_within.
    template <class Rep, class Period> ending shutdown_within(std::chrono::duration<Rep, Period> limit) {
        ending found;
        detail::check(taskring_shutdown_within(get(), detail::nanoseconds(limit), &found.cancelled, &found.killed));
        return found;
    }
    /// Ends the workers by SIGTERM, without waiting. See taskring_terminate_workers.
    void terminate_workers() { detail::check(taskring_terminate_workers(get())); }
    /// The same by SIGKILL.
    void kill_workers() { detail::check(taskring_kill_workers(get())); }
    /// From now on there are so many workers. More start at once, or those beyond min_workers when they are needed; of fewer, the others leave after their task. See taskring_resize.
    void resize(std::uint32_t workers) { detail::check(taskring_resize(get(), workers)); }
    /// Starts no task until resume; what runs goes on. A pause ends with the pool, whose destructor runs what is pending. See taskring_pause.
    void pause() { detail::check(taskring_pause(get())); }
    /// Starts tasks again.
    void resume() { detail::check(taskring_resume(get())); }
    bool is_paused() const {
        std::uint32_t paused = 0;
        detail::check(taskring_is_paused(get(), &paused));
        return paused != 0;
    }
    /// Cancels everything that is pending, and tells how many tasks that were. See taskring_purge.
    std::uint64_t purge() {
        std::uint64_t cancelled = 0;
        detail::check(taskring_purge(get(), &cancelled));
        return cancelled;
    }
    taskring_stats stats() const {
        taskring_stats found TASKRING_STATS_INIT;
        detail::check(taskring_pool_stats(get(), &found));
        return found;
    }
    taskring_pool *get() const noexcept { return pool_.get(); }

protected:
    explicit pool(taskring_pool *made) : pool_(made) {}

    template <class P> static outcome<P> owned(taskring_status status, taskring_pool *made) {
        if (status != TASKRING_OK)
            return outcome<P>(detail::last_failure(status));
        return P(made);
    }

    /// The pool's number of a function.
    taskring_status number(const char *name, std::uint32_t &found) {
        const std::lock_guard<std::mutex> guard(names_->mutex);
        const auto known = names_->numbers.find(name);
        if (known != names_->numbers.end()) {
            found = known->second;
            return TASKRING_OK;
        }
        const taskring_status status = taskring_function(get(), name, &found);
        if (status == TASKRING_OK)
            names_->numbers.emplace(name, found);
        return status;
    }

private:
    struct free_pool {
        void operator()(taskring_pool *pool) const noexcept { taskring_free(pool); }
    };
    /// Numbers of functions that were asked for.
    struct names {
        std::mutex mutex;
        std::map<std::string, std::uint32_t, std::less<>> numbers;
    };

    template <class R, class... A, class... G>
    outcome<future<R>> send(std::uint64_t timeout_ns, const taskring_options *how, task<R(A...)> which, G &&...args) {
        std::string bytes;
        detail::encode_arguments(which, bytes, std::forward<G>(args)...);
        std::uint32_t function = 0;
        std::uint64_t ticket = 0;
        taskring_status status = number(which.name(), function);
        if (status == TASKRING_OK)
            status = taskring_submit_timed(get(), function, bytes.data(), bytes.size(), how, timeout_ns, &ticket);
        if (status != TASKRING_OK)
            return outcome<future<R>>(detail::last_failure(status));
        return future<R>(get(), ticket);
    }

    std::unique_ptr<taskring_pool, free_pool> pool_;
    std::unique_ptr<names> names_ = std::make_unique<names>();
};

} // namespace taskring

#endif
