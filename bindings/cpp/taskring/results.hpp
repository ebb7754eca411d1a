// Maps: one task over many inputs.
#ifndef TASKRING_RESULTS_HPP
#define TASKRING_RESULTS_HPP

#include "options.hpp"
#include "task.hpp"

#include <variant>

namespace taskring {
namespace detail {

/// The inputs of a map: each is encoded when the map asks for it.
class inputs {
public:
    virtual ~inputs() = default;
    /// The map's input function. `context` is one of these.
    static std::int32_t read(void *context, taskring_bytes *args) noexcept {
        inputs &it = *static_cast<inputs *>(context);
        try {
            it.bytes_.clear();
            if (!it.next(it.bytes_))
                return 0;
            it.count_++;
            *args = {it.bytes_.data(), it.bytes_.size()};
            return 1;
        } catch (...) {
            it.thrown_ = std::current_exception();
            return 2;
        }
    }
    /// Throws what the inputs threw, if that is why there is none of this index.
    void rethrow(std::uint64_t index) {
        if (thrown_ && index == count_)
            std::rethrow_exception(std::exchange(thrown_, nullptr));
    }

private:
    /// Appends the next input; false at the end.
    virtual bool next(std::string &to) = 0;

    std::string bytes_;
    std::uint64_t count_ = 0;
    std::exception_ptr thrown_;
};

template <class Task, class Range> class inputs_of;
/// `Range` is a reference when the caller keeps it. Inputs of a task with several parameters are tuples.
template <class R, class... A, class Range> class inputs_of<task<R(A...)>, Range> final : public inputs {
    static_assert(sizeof...(A) != 0, "a task without parameters has no inputs");

public:
    explicit inputs_of(Range &&range) : range_(std::forward<Range>(range)), at_(std::begin(range_)) {}

private:
    bool next(std::string &to) override {
        // Not stepped on before another is asked for: an input from outside may wait for it.
        if (begun_)
            ++at_;
        begun_ = true;
        if (!(at_ != std::end(range_)))
            return false;
        encode(*at_, to);
        return true;
    }
    template <class Item> static void encode(Item &&item, std::string &to) {
        if constexpr (sizeof...(A) == 1)
            encode_arguments(task<R(A...)>(""), to, std::forward<Item>(item));
        else
            std::apply([&to](auto &&...one) { encode_arguments(task<R(A...)>(""), to, std::forward<decltype(one)>(one)...); },
                       std::forward<Item>(item));
    }

    Range range_;
    decltype(std::begin(std::declval<std::remove_reference_t<Range> &>())) at_;
    bool begun_ = false;
};

template <class It, class End> struct between {
    It first;
    End last;
    It begin() const { return first; }
    End end() const { return last; }
};

} // namespace detail

/// What pool::map and multi_pool::imap give: a range, gone through once, of results; std::monostate for tasks that give nothing. What a task or the inputs threw is thrown
/// at its place by begin or ++ (and by next): after a task's exception begin or next goes on with the next result, after that of the inputs nothing is
/// left. timeout_error is the end. Destroyed early, it cancels what has not started, if any result was asked for; otherwise what was submitted runs.
/// It must not outlive its inputs. A pool that refuses an input right away is an error of pool::map, after which what was submitted before runs.
template <class R> class results {
public:
    using value_type = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

    /// Started by pool::map.
    results(taskring_pool *pool, std::uint32_t function, std::unique_ptr<detail::inputs> from, const map_options &how) : inputs_(std::move(from)) {
        taskring_map *made = nullptr;
        const taskring_map_options all = how.get();
        detail::check(taskring_map_new(pool, function, detail::inputs::read, inputs_.get(), &all, &made));
        map_.reset(made);
    }
    /// Started by multi_pool::imap.
    results(taskring_multi *multi, const char *function, std::unique_ptr<detail::inputs> from, const map_options &how) : inputs_(std::move(from)) {
        taskring_map *made = nullptr;
        const taskring_map_options all = how.get();
        detail::check(taskring_multi_imap(multi, function, detail::inputs::read, inputs_.get(), &all, &made));
        map_.reset(made);
    }
    /// The next result; nothing at the end.
    std::optional<value_type> next() { return known(fetch(TASKRING_INFINITE)); }
    /// The same, or timeout_error: ask again, unless the time of the whole map is over.
    template <class Rep, class Period> std::optional<value_type> next_for(std::chrono::duration<Rep, Period> time) {
        return known(fetch(detail::nanoseconds(time)));
    }
    /// The same without exceptions for how tasks end: TASKRING_END at the end. What the inputs threw is still thrown.
    outcome<value_type> try_next() { return fetch(TASKRING_INFINITE); }
    template <class Rep, class Period> outcome<value_type> try_next_for(std::chrono::duration<Rep, Period> time) {
        return fetch(detail::nanoseconds(time));
    }
    /// Reads no more inputs, cancels what has not started, and asks running tasks to stop; a chunk does so between two of its inputs. The results of what
    /// was done are still given, and cancelled_error for the rest of what was read.
    void cancel() { detail::check(taskring_map_cancel(map_.get())); }
    /// The number of the last result's input, from 0.
    std::uint64_t index() const noexcept { return index_; }

    detail::item_iterator<results> begin() {
        pull();
        return detail::item_iterator<results>(this);
    }
    detail::end_of_items end() const noexcept { return {}; }

private:
    friend class detail::item_iterator<results>;
    struct free_map {
        void operator()(taskring_map *map) const noexcept { taskring_map_free(map); }
    };

    void pull() {
        current_.reset();
        current_ = next();
    }
    bool over() const noexcept { return !current_; }
    value_type &item() noexcept { return *current_; }

    outcome<value_type> fetch(std::uint64_t timeout_ns) {
        std::size_t len = 0;
        const auto ask = [&](std::uint64_t ns) { return taskring_map_next(map_.get(), ns, buffer_.data(), buffer_.size(), &len, &index_); };
        taskring_status status = ask(timeout_ns);
        if (status == TASKRING_BUFFER_TOO_SMALL) {
            buffer_.resize(len);
            status = ask(0);
        }
        if (status == TASKRING_ENCODE)
            inputs_->rethrow(index_);
        if (status != TASKRING_OK)
            return outcome<value_type>(detail::last_failure(status));
        try {
            if constexpr (std::is_void_v<R>) {
                detail::decode_all<R>(buffer_.data(), len);
                return value_type();
            } else {
                return detail::decode_all<R>(buffer_.data(), len);
            }
        } catch (const error &e) {
            return outcome<value_type>(detail::failure{e.status(), e.what(), {}});
        }
    }

    static std::optional<value_type> known(outcome<value_type> next) {
        if (next.status() == TASKRING_END)
            return std::nullopt;
        return std::move(next).value();
    }

    // Freed after the map, which calls it.
    std::unique_ptr<detail::inputs> inputs_;
    std::unique_ptr<taskring_map, free_map> map_;
    std::string buffer_ = std::string(256, '\0');
    std::uint64_t index_ = 0;
    std::optional<value_type> current_;
};

} // namespace taskring

#endif
