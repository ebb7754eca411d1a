// The events of a task, as its submitter reads them.
#ifndef TASKRING_EVENTS_HPP
#define TASKRING_EVENTS_HPP

#include "codec.hpp"
#include "iterate.hpp"

namespace taskring {

/// What future::events gives: a range, gone through once, of what the task has sent by send_event and nobody has read. It waits for the next one, and
/// ends when the task is over, however it ended, and all were read. `T` is of the type that was sent: an event that is none is an error with
/// TASKRING_DECODE at its place, thrown by begin or ++ (and by next), after which begin or next goes on with the one behind it. Of several
/// ranges of one future each event comes to one. It must not outlive the task's future. What a wait in another task does: see taskring_next_event.
template <class T> class task_events {
public:
    using value_type = T;

    /// Given by future::events.
    task_events(taskring_pool *pool, std::uint64_t ticket) noexcept : pool_(pool), ticket_(ticket) {}
    /// The next event; nothing at the end.
    std::optional<T> next() { return known(TASKRING_INFINITE); }
    /// The same, or timeout_error: ask again.
    template <class Rep, class Period> std::optional<T> next_for(std::chrono::duration<Rep, Period> time) {
        return known(detail::nanoseconds(time));
    }
    /// The same without exceptions but those of the codec: TASKRING_END at the end.
    outcome<T> try_next() { return fetch(TASKRING_INFINITE); }
    template <class Rep, class Period> outcome<T> try_next_for(std::chrono::duration<Rep, Period> time) {
        return fetch(detail::nanoseconds(time));
    }

    detail::item_iterator<task_events> begin() {
        pull();
        return detail::item_iterator<task_events>(this);
    }
    detail::end_of_items end() const noexcept { return {}; }

private:
    friend class detail::item_iterator<task_events>;
    template <class> friend class future;

    void pull() {
        current_.reset();
        current_ = next();
    }
    bool over() const noexcept { return !current_; }
    T &item() noexcept { return *current_; }

    /// Throws what the codec throws, and an error with TASKRING_DECODE.
    taskring_status read(std::uint64_t timeout_ns, std::optional<T> &into) const {
        char bytes[TASKRING_EVENT_LEN_MAX];
        std::size_t len = 0;
        const taskring_status status = taskring_next_event(pool_, ticket_, timeout_ns, bytes, sizeof bytes, &len);
        if (status == TASKRING_OK)
            into.emplace(detail::decode_all<T>(bytes, len));
        return status;
    }

    std::optional<T> known(std::uint64_t timeout_ns) const {
        std::optional<T> found;
        const taskring_status status = read(timeout_ns, found);
        if (status != TASKRING_END)
            detail::check(status);
        return found;
    }

    outcome<T> fetch(std::uint64_t timeout_ns) const {
        std::optional<T> found;
        try {
            const taskring_status status = read(timeout_ns, found);
            if (status != TASKRING_OK)
                return outcome<T>(detail::last_failure(status));
        } catch (const error &e) {
            return outcome<T>(detail::failure{e.status(), e.what(), {}});
        }
        return *std::move(found);
    }

    taskring_pool *pool_;
    std::uint64_t ticket_;
    std::optional<T> current_;
};

} // namespace taskring

#endif
