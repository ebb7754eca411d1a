// Tasks: names with types, their code, and what a program does as a worker.
#ifndef TASKRING_TASK_HPP
#define TASKRING_TASK_HPP

#include "codec.hpp"

#include <exception>
#include <functional>
#include <memory>

namespace taskring {

/// A task: a name, and what it takes and gives.
template <class> class task;
template <class R, class... A> class task<R(A...)> {
    static_assert(std::is_same_v<stored_t<R>, R>, "what a task gives must own its bytes: return a std::string or a std::vector");

public:
    using result_type = R;
    using arguments = std::tuple<std::decay_t<A>...>;
    explicit constexpr task(const char *name) noexcept : name_(name) {}
    constexpr const char *name() const noexcept { return name_; }

private:
    const char *name_;
};

namespace detail {

template <class> inline constexpr bool is_task = false;
template <class S> inline constexpr bool is_task<task<S>> = true;

} // namespace detail

/// What a task may throw to fail with a code, 1 to 31, by which retry::on_codes chooses. Any other exception has code 1.
class coded_error : public std::runtime_error {
public:
    coded_error(int code, const std::string &what) : std::runtime_error(what), code_(code) {}
    int code() const noexcept { return code_; }

private:
    int code_;
};

namespace detail {

/// Tells what is nested in an exception, and in that, and so on.
inline void tell_sources(taskring_call *call, const std::exception &e) {
    try {
        std::rethrow_if_nested(e);
    } catch (const std::exception &inner) {
        taskring_call_source(call, inner.what());
        tell_sources(call, inner);
    } catch (...) {
        taskring_call_source(call, "an exception that is no std::exception");
    }
}

/// Runs `body`, which gives the encoded result, for a call. No exception goes further.
template <class F> std::int32_t answer(taskring_call *call, F &&body) noexcept {
    try {
        const std::string result = body();
        return taskring_call_set_result(call, result.data(), result.size());
    } catch (const std::exception &e) {
        taskring_call_fail(call, e.what());
        tell_sources(call, e);
        const auto *coded = dynamic_cast<const coded_error *>(&e);
        return coded == nullptr || coded->code() == 0 ? 1 : coded->code();
    } catch (...) {
        taskring_call_fail(call, "an exception that is no std::exception");
    }
    return 1;
}

/// Runs `body` and encodes what it gives.
template <class R, class F> std::string encoded_result(F &&body) {
    std::string result;
    if constexpr (std::is_void_v<R>)
        body();
    else
        codec<R>::encode(body(), result);
    return result;
}

/// The parameter that was kept.
template <class T> decltype(auto) as_parameter(stored_t<T> &kept) {
    if constexpr (std::is_same_v<stored_t<T>, T>)
        return std::move(kept);
    else
        return T(kept);
}

template <class F, class R, class... A> std::int32_t run(taskring_call *call, const F &function, task<R(A...)>) noexcept {
    return answer(call, [call, &function] {
        std::size_t len = 0;
        const void *args = taskring_call_args(call, &len);
        auto kept = decode_all<std::tuple<stored_t<std::decay_t<A>>...>>(args, len);
        return encoded_result<R>(
            [&] { return std::apply([&](auto &...one) -> R { return function(as_parameter<std::decay_t<A>>(one)...); }, kept); });
    });
}

/// Appends an argument as the parameter's type: straight from where it is, if it has that type.
template <class T, class G> void encode_argument(G &&given, std::string &to) {
    static_assert(std::is_constructible_v<T, G>, "this is not the task's argument");
    if constexpr (std::is_same_v<std::remove_cv_t<std::remove_reference_t<G>>, T>)
        codec<T>::encode(given, to);
    else if constexpr (std::is_constructible_v<T, G>)
        codec<T>::encode(static_cast<T>(std::forward<G>(given)), to);
}

template <class R, class... A, class... G> void encode_arguments(task<R(A...)>, std::string &to, G &&...given) {
    static_assert(sizeof...(A) == sizeof...(G), "the task takes another number of arguments");
    if constexpr (sizeof...(A) == sizeof...(G))
        (encode_argument<std::decay_t<A>>(std::forward<G>(given), to), ...);
}

} // namespace detail

/// Registers the code of a task, for this process as a worker: a function or a lambda without captures. Before init.
template <class R, class... A, class F> void define(task<R(A...)> which, F function) {
    static_assert(std::is_invocable_r_v<R, F, std::decay_t<A>...>, "the function does not fit the task's signature");
    using pointer = R (*)(A...);
    static_assert(std::is_convertible_v<F, pointer>,
                  "a lambda with captures cannot be a task: a worker in another process would not have what it captured");
    const pointer code = function;
    struct context {
        pointer code;
    };
    auto kept = std::make_unique<context>(context{code});
    const auto call_it = [](taskring_call *call, void *data) noexcept -> std::int32_t {
        return detail::run(call, static_cast<context *>(data)->code, task<R(A...)>{""});
    };
    const auto end_it = [](void *data) noexcept { delete static_cast<context *>(data); };
    // The library calls `end_it` also when it refuses.
    detail::check(taskring_register(which.name(), call_it, kept.release(), end_it));
}

/// The first line of main after the definitions: in a worker process it does not return. Also checks that header and library go together.
inline void init(int argc, char **argv) {
    detail::check(taskring_check_version(TASKRING_VERSION));
    detail::check(taskring_init(argc, argv));
}

/// The version of the library that is running, as TASKRING_VERSION is that of the header.
inline std::uint32_t version() noexcept { return taskring_version(); }

/// Removes the file of a named pool to which nobody is attached any more: false when there is none. Throws an error with TASKRING_EXISTS when somebody is.
inline bool remove_dead(const std::string &name) {
    std::uint32_t removed = 0;
    detail::check(taskring_remove_dead(name.c_str(), &removed));
    return removed != 0;
}

/// Serves the named pool in this thread until it ends. A process that does so and owns another pool, or serves another, loses that too when a task is killed:
/// see taskring_work.
inline void work(const std::string &name) { detail::check(taskring_work(name.c_str())); }

/// Tells the submitter how far the running task has come, in any unit, of a total, or of one that is not known: future::progress.
inline void report_progress(std::uint64_t done, std::uint64_t total = 0) { detail::check(taskring_report_progress(done, total)); }
/// Tells the submitter a value, of up to 64 encoded bytes: future::reported.
template <class T> void report(const T &value) {
    std::string bytes;
    codec<T>::encode(value, bytes);
    detail::check(taskring_report(bytes.data(), bytes.size()));
}

/// Sends the submitter an event, of up to TASKRING_EVENT_LEN_MAX encoded bytes, which is kept until it is read: future::events, future::next_event. It waits for
/// nobody: when the events that nobody has read yet leave no room it throws an error with TASKRING_EVENTS_FULL, and the task may send it later.
template <class T> void send_event(const T &value) {
    std::string bytes;
    codec<T>::encode(value, bytes);
    detail::check(taskring_send_event(bytes.data(), bytes.size()));
}
/// The same, without exceptions for what the library says.
template <class T> outcome<void> try_send_event(const T &value) {
    std::string bytes;
    codec<T>::encode(value, bytes);
    const taskring_status status = taskring_send_event(bytes.data(), bytes.size());
    return status == TASKRING_OK ? outcome<void>() : outcome<void>(detail::last_failure(status));
}

/// How many attempts at the running task came before this one: 0 in the first.
inline std::uint32_t attempt() noexcept { return taskring_attempt(); }
/// The ticket of the running task, which its submitter's future has as well; 0 outside a task.
inline std::uint64_t task_ticket() noexcept { return taskring_task_ticket(); }

/// Whether the submitter asked the running task to stop.
inline bool cancel_requested() noexcept { return taskring_cancel_requested() != 0; }

} // namespace taskring

#endif
