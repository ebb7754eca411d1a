// Waiting for several tasks, and hearing of tasks as they end.
#ifndef TASKRING_COMPLETIONS_HPP
#define TASKRING_COMPLETIONS_HPP

#include "future.hpp"
#include "iterate.hpp"

namespace taskring {

/// A completion queue: tasks, of one pool or several, come out once as they end. Any thread may use it.
class completions {
public:
    completions() {
        taskring_completions *made = nullptr;
        detail::check(taskring_completions_new(&made));
        queue_.reset(made);
    }
    /// Adds a task; see also options::completions. Its future stays with the caller.
    template <class R> void add(const future<R> &task, std::uint64_t user_data = 0) {
        detail::check(taskring_completions_add(get(), task.pool(), task.ticket(), user_data));
    }
    /// The next task that is over, whose result can be had without waiting; nothing when all that were added have come out.
    std::optional<taskring_completion> next() { return known(try_next(TASKRING_INFINITE)); }
    /// The same, or timeout_error.
    template <class Rep, class Period> std::optional<taskring_completion> next_for(std::chrono::duration<Rep, Period> time) {
        return known(try_next(detail::nanoseconds(time)));
    }
    /// The same without exceptions: TASKRING_END when all have come out, TASKRING_TIMED_OUT.
    outcome<taskring_completion> try_next() { return try_next(TASKRING_INFINITE); }
    template <class Rep, class Period> outcome<taskring_completion> try_next_for(std::chrono::duration<Rep, Period> time) {
        return try_next(detail::nanoseconds(time));
    }
    /// What poll, select and epoll find readable while next would not wait. It belongs to the queue: do not read or close it.
    int fd() {
        int found = -1;
        detail::check(taskring_completions_fd(get(), &found));
        return found;
    }
    taskring_completions *get() const noexcept { return queue_.get(); }

private:
    struct free_queue {
        void operator()(taskring_completions *queue) const noexcept { taskring_completions_free(queue); }
    };

    outcome<taskring_completion> try_next(std::uint64_t timeout_ns) {
        taskring_completion found{};
        std::size_t count = 0;
        const taskring_status status = taskring_completions_next(get(), timeout_ns, &found, 1, &count);
        if (status != TASKRING_OK)
            return outcome<taskring_completion>(detail::last_failure(status));
        return found;
    }

    static std::optional<taskring_completion> known(outcome<taskring_completion> next) {
        if (next.status() == TASKRING_END)
            return std::nullopt;
        return next.value();
    }

    std::unique_ptr<taskring_completions, free_queue> queue_;
};

/// A future whose task is over, and its place among those that were given.
template <class R> struct ended {
    std::size_t index;
    taskring::future<R> &future;
};

/// What as_completed gives.
template <class R> class ended_range {
public:
    using value_type = ended<R>;

    template <class Futures> ended_range(Futures &futures, std::uint64_t timeout_ns) : timeout_ns_(timeout_ns), start_(clock::now()) {
        for (future<R> &one : futures) {
            queue_.add(one, futures_.size());
            futures_.push_back(&one);
        }
    }
    detail::item_iterator<ended_range> begin() {
        pull();
        return detail::item_iterator<ended_range>(this);
    }
    detail::end_of_items end() const noexcept { return {}; }

private:
    using clock = std::chrono::steady_clock;
    friend class detail::item_iterator<ended_range>;

    void pull() {
        current_.reset();
        const auto next = timeout_ns_ == TASKRING_INFINITE ? queue_.try_next() : queue_.try_next_for(left());
        if (next.status() == TASKRING_END)
            return;
        if (next.status() == TASKRING_TIMED_OUT)
            throw timeout_error(TASKRING_TIMED_OUT, std::to_string(futures_.size() - given_) + " (of " + std::to_string(futures_.size()) +
                                                        ") futures unfinished");
        const auto index = static_cast<std::size_t>(next.value().user_data);
        given_++;
        current_.emplace(value_type{index, *futures_[index]});
    }
    bool over() const noexcept { return !current_; }
    value_type &item() noexcept { return *current_; }

    std::chrono::nanoseconds left() const {
        const auto gone = static_cast<std::uint64_t>((clock::now() - start_) / std::chrono::nanoseconds(1));
        return std::chrono::nanoseconds(gone < timeout_ns_ ? timeout_ns_ - gone : 0);
    }

    completions queue_;
    std::vector<future<R> *> futures_;
    /// How many came out.
    std::size_t given_ = 0;
    std::uint64_t timeout_ns_;
    clock::time_point start_;
    std::optional<value_type> current_;
};

namespace detail {
template <class Futures> using ended_range_of = ended_range<typename std::decay_t<decltype(*std::begin(std::declval<Futures &>()))>::result_type>;
} // namespace detail

/// The futures of a container as their tasks end: for (auto &[index, future] : as_completed(futures)). They stay where they are meanwhile.
template <class Futures> auto as_completed(Futures &futures) {
    return detail::ended_range_of<Futures>(futures, TASKRING_INFINITE);
}
/// The same within a time for all of them, from this call on; then timeout_error comes out of begin or ++.
template <class Futures, class Rep, class Period> auto as_completed(Futures &futures, std::chrono::duration<Rep, Period> time) {
    return detail::ended_range_of<Futures>(futures, detail::nanoseconds(time));
}

/// What wait waits for.
enum class when : std::uint32_t {
    /// Any task is over.
    first_completed = TASKRING_FIRST_COMPLETED,
    /// Any has failed, which a cancelled one has not; if none does, all are over.
    first_exception = TASKRING_FIRST_EXCEPTION,
    all_completed = TASKRING_ALL_COMPLETED
};

/// The places of futures among those that were given, in that order.
struct waited {
    /// Their tasks are over.
    std::vector<std::size_t> done;
    std::vector<std::size_t> not_done;
};

namespace detail {

inline taskring_future handle_of(const taskring_future &one) noexcept { return one; }
template <class R> taskring_future handle_of(const future<R> &one) noexcept { return one.handle(); }

template <class Futures> waited wait_many(const Futures &futures, std::uint64_t timeout_ns, when until) {
    std::vector<taskring_future> handles;
    for (const auto &one : futures)
        handles.push_back(handle_of(one));
    std::vector<std::uint8_t> over(handles.size());
    const taskring_status status =
        taskring_wait_many(handles.data(), handles.size(), static_cast<std::uint32_t>(until), timeout_ns, over.data(), nullptr);
    if (status != TASKRING_TIMED_OUT)
        check(status);
    waited found;
    for (std::size_t i = 0; i < over.size(); i++)
        (over[i] != 0 ? found.done : found.not_done).push_back(i);
    return found;
}

} // namespace detail

/// Waits until `until` holds of the futures of a container, of one pool or of several; takes nothing. One that was given twice is told of twice. Futures
/// of several types go into a container as taskring_future, which future::handle gives.
template <class Futures> waited wait(const Futures &futures, when until = when::all_completed) {
    return detail::wait_many(futures, TASKRING_INFINITE, until);
}
/// The same within a time: what is over by then is told, and nothing thrown.
template <class Futures, class Rep, class Period>
waited wait(const Futures &futures, std::chrono::duration<Rep, Period> time, when until = when::all_completed) {
    return detail::wait_many(futures, detail::nanoseconds(time), until);
}

} // namespace taskring

#endif
