// Options: of pools, of tasks, of maps.
#ifndef TASKRING_OPTIONS_HPP
#define TASKRING_OPTIONS_HPP

#include "completions.hpp"

#include <initializer_list>

namespace taskring {

namespace detail {

/// A time in nanoseconds, for a field in which 0 would be no limit.
template <class Rep, class Period> std::uint64_t more_than_none(std::chrono::duration<Rep, Period> time) noexcept {
    const std::uint64_t ns = nanoseconds(time);
    return ns == 0 ? 1 : ns;
}

/// For a field in which 0 would be the default.
template <class T> T at_least_1(const char *name, T value) {
    if (value == 0)
        throw invalid_argument_error(TASKRING_INVALID_ARGUMENT, std::string(name) + " is 0; wanted at least 1");
    return value;
}

} // namespace detail

/// When a task that failed is run again, as taskring_retry has it: options().retry(taskring::retry(3).backoff(10ms, 1s)).
class retry {
public:
    /// It is started so often at most, counting the first time: at least 1. Unless other failures are chosen, any exception or other error brings the next
    /// attempt.
    explicit retry(std::uint32_t attempts) { raw_.attempts = detail::at_least_1("retry attempts", attempts); }
    /// Not even where the pool says otherwise.
    static retry never() { return retry(1); }
    retry &on_errors() noexcept { return raw_.on |= TASKRING_RETRY_ERRORS, *this; }
    /// After a panic, which is a failure of functions in Rust.
    retry &on_panics() noexcept { return raw_.on |= TASKRING_RETRY_PANICS, *this; }
    /// After a failure with one of these codes, 1 to 31: see taskring::coded_error. Others are refused at the submit.
    retry &on_codes(std::initializer_list<int> codes) noexcept {
        for (const int code : codes)
            raw_.codes |= code < 1 || code > 31 ? 1u : 1u << code;
        return *this;
    }
    /// A pause of `first` before the second attempt, and before each further one twice that of the one before, but not more than `max`. In whole milliseconds.
    /// Without a first pause there is none.
    template <class R1, class P1, class R2, class P2>
    retry &backoff(std::chrono::duration<R1, P1> first, std::chrono::duration<R2, P2> max) noexcept {
        raw_.backoff_ns = detail::nanoseconds(first);
        return raw_.backoff_max_ns = detail::more_than_none(max), *this;
    }
    const taskring_retry &get() const noexcept { return raw_; }

private:
    taskring_retry raw_{};
};

/// Options of a pool: the fields of taskring_config, with their sizes set.
struct config : taskring_config {
    config() : taskring_config TASKRING_CONFIG_INIT {}
    /// The time limits of tasks that have none of their own; see options.
    template <class Rep, class Period> config &task_soft_limit(std::chrono::duration<Rep, Period> limit) noexcept {
        return task_soft_limit_ns = detail::more_than_none(limit), *this;
    }
    template <class Rep, class Period> config &task_hard_limit(std::chrono::duration<Rep, Period> limit) noexcept {
        return task_hard_limit_ns = detail::more_than_none(limit), *this;
    }
    config &retry_tasks(const retry &how) noexcept { return task_retry = how.get(), *this; }
};

/// Tasks that are stopped in one call.
class task_set {
public:
    explicit task_set(taskring_pool *pool) {
        taskring_set *set = nullptr;
        detail::check(taskring_set_new(pool, &set));
        set_.reset(set);
    }
    /// No task of the set starts any more once this has returned.
    taskring_discarded discard() {
        taskring_discarded counts{};
        detail::check(taskring_set_discard(set_.get(), &counts));
        return counts;
    }
    taskring_set *get() const noexcept { return set_.get(); }

private:
    struct free_set {
        void operator()(taskring_set *set) const noexcept { taskring_set_free(set); }
    };
    std::unique_ptr<taskring_set, free_set> set_;
};

/// Which of the tasks that wait are taken first: see TASKRING_PRIORITY_HIGH.
enum class priority : std::uint32_t {
    normal = TASKRING_PRIORITY_NORMAL,
    high = TASKRING_PRIORITY_HIGH,
    low = TASKRING_PRIORITY_LOW,
};

/// Options of a task, as taskring_options has them: pool.submit(options().idempotent().set(batch), task, ...). Of sets and queues they keep the handle
/// only. A task_set alone will do for options.
class options {
public:
    options() = default;
    options(const task_set &belongs_to) { set(belongs_to); }
    /// Whether it may run again when its worker died in it; unsaid, the pool's policy holds.
    options &idempotent(bool is = true) noexcept { return raw_.flags = is ? TASKRING_IDEMPOTENT : TASKRING_NOT_IDEMPOTENT, *this; }
    /// How often it is started at most, if it is idempotent, counting the first time: at least 1.
    options &attempts_max(std::uint32_t times) { return raw_.attempts_max = detail::at_least_1("attempts_max", times), *this; }
    options &priority(taskring::priority level) noexcept { return raw_.priority = static_cast<std::uint32_t>(level), *this; }
    options &set(const task_set &belongs_to) noexcept { return raw_.set = belongs_to.get(), *this; }
    /// The queue that it comes out of when it is over, and what comes out with it.
    options &completions(const taskring::completions &queue, std::uint64_t user_data = 0) noexcept {
        raw_.completions = queue.get();
        return this->user_data(user_data);
    }
    options &user_data(std::uint64_t value) noexcept { return raw_.user_data = value, *this; }
    /// How long it may run, from its start, before it is asked to stop, as by future::cancel. Less than the hard limit, also where
    /// one of the two is the pool's.
    template <class Rep, class Period> options &soft_limit(std::chrono::duration<Rep, Period> limit) noexcept {
        return raw_.soft_limit_ns = detail::more_than_none(limit), *this;
    }
    /// How long it may run before it is killed with its worker process, and throws time_limit_error. What that process
    /// does for other pools ends with it.
    template <class Rep, class Period> options &hard_limit(std::chrono::duration<Rep, Period> limit) noexcept {
        return raw_.hard_limit_ns = detail::more_than_none(limit), *this;
    }
    /// When it is run again after it has failed. In a map each input has attempts of its own; chunks of inputs are refused.
    options &retry(const taskring::retry &how) noexcept { return raw_.retry = how.get(), *this; }
    const taskring_options *get() const noexcept { return &raw_; }

private:
    taskring_options raw_ = TASKRING_OPTIONS_INIT;
};

/// Options of a map, as taskring_map_options has them.
class map_options {
public:
    /// Results come as their tasks end, not in the order of the inputs.
    map_options &unordered(bool is = true) noexcept { return raw_.unordered = is, *this; }
    /// Tasks that are in the pool at a time; the input is read no further. Unsaid, all of the input is submitted at once; by multi_pool::imap, twice as many as
    /// there are workers.
    map_options &window(std::uint64_t tasks) noexcept { return raw_.window = tasks, *this; }
    /// Inputs that go into one task: for functions of less than a few microseconds. A time limit counts for all of them together: see taskring_map_options.
    map_options &chunk(std::uint64_t inputs) noexcept { return raw_.chunk = inputs, *this; }
    /// As many inputs in each task as take about 100 us, at most 1024, by what workers measured of those before.
    map_options &chunk_auto() noexcept { return chunk(TASKRING_CHUNK_AUTO); }
    /// For all results together, from the call of map on.
    template <class Rep, class Period> map_options &timeout(std::chrono::duration<Rep, Period> time) noexcept {
        return raw_.timeout_ns = detail::more_than_none(time), *this;
    }
    /// Options of each of its tasks.
    map_options &submit(const options &how) noexcept { return submit_ = how, *this; }
    /// Good as long as this is.
    taskring_map_options get() const noexcept {
        taskring_map_options all = raw_;
        all.submit = submit_.get();
        return all;
    }

private:
    taskring_map_options raw_ = TASKRING_MAP_OPTIONS_INIT;
    options submit_;
};

} // namespace taskring

#endif
