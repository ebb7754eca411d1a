// Pools in the style of Python's multiprocessing.Pool: one call for a whole map, results that are waited for, and an end that is said.
#ifndef TASKRING_MULTI_HPP
#define TASKRING_MULTI_HPP

#include "options.hpp"
#include "results.hpp"
#include "task.hpp"

namespace taskring {

/// The results of a map, as a type: async_result<list_of<R>> gives a std::vector<R>, and async_result<std::vector<R>> is of one task that gives one.
template <class R> struct list_of;

namespace detail {

/// How the values of one task, or all those of a map, become what the caller asked for.
template <class T> struct gathered {
    static T decode(const taskring_bytes *values, std::size_t count) {
        if (count != 1)
            throw error(TASKRING_DECODE, "a task gives one value");
        return decode_all<T>(values->data, values->len);
    }
};
template <class R> struct gathered<list_of<R>> {
    static std::vector<R> decode(const taskring_bytes *values, std::size_t count) {
        std::vector<R> all;
        all.reserve(count);
        for (std::size_t i = 0; i < count; i++) {
            // Of a task that gives nothing there are no bytes; a std::monostate that one gives has one.
            if (std::is_same_v<R, std::monostate> && values[i].len == 0)
                all.emplace_back();
            else
                all.push_back(decode_all<R>(values[i].data, values[i].len));
        }
        return all;
    }
};

/// A function that takes the value (nothing of a task that gives nothing), and one that takes what get would throw.
template <class T, class OnValue, class OnError> class callbacks_of {
public:
    callbacks_of(OnValue on_value, OnError on_error) : on_value_(std::move(on_value)), on_error_(std::move(on_error)) {}

    /// For the library, which calls its end also when it refuses.
    static taskring_callbacks given_away(std::unique_ptr<callbacks_of> it) noexcept {
        taskring_callbacks all TASKRING_CALLBACKS_INIT;
        all.callback = of_values;
        all.error_callback = of_error;
        all.destructor = end;
        all.context = it.release();
        return all;
    }

private:
    static void of_values(const taskring_bytes *values, std::size_t count, void *context) noexcept {
        callbacks_of &it = *static_cast<callbacks_of *>(context);
        logged("a callback", [&] {
            using value = decltype(gathered<T>::decode(values, count));
            if constexpr (std::is_void_v<value>) {
                it.on_value_();
            } else {
                std::optional<value> found;
                // What cannot be decoded is an error, as get throws it, and no value.
                try {
                    found.emplace(gathered<T>::decode(values, count));
                } catch (const error &) {
                    it.on_error_(std::current_exception());
                    return;
                }
                it.on_value_(*std::move(found));
            }
        });
    }
    static void of_error(taskring_status status, void *context) noexcept {
        logged("an error callback", [&] {
            std::exception_ptr why;
            try {
                fail(last_failure(status));
            } catch (...) {
                why = std::current_exception();
            }
            static_cast<callbacks_of *>(context)->on_error_(why);
        });
    }
    static void end(void *context) noexcept { delete static_cast<callbacks_of *>(context); }

    OnValue on_value_;
    OnError on_error_;
};

/// No error callback.
struct ignore_error {
    void operator()(const std::exception_ptr &) const noexcept {}
};

} // namespace detail

/// A result that is waited for, of one task or (async_result<list_of<R>>, which map_async gives) of all those of a map, as a vector. Destroying it
/// lets the tasks run; a callback is called all the same. Threads may share it, and it may outlive its pool.
template <class T> class async_result {
public:
    using value_type = decltype(detail::gathered<T>::decode(nullptr, 0));

    /// Takes a handle over.
    explicit async_result(taskring_async *made) noexcept : result_(made) {}

    /// Whether all tasks are over, and the callback, if there is one, has returned: get will not wait.
    bool ready() const {
        std::uint32_t found = 0;
        detail::check(taskring_async_ready(get_handle(), &found));
        return found != 0;
    }
    /// Whether all tasks have given values; while it is not ready, invalid_state_error.
    bool successful() const {
        std::uint32_t found = 0;
        detail::check(taskring_async_successful(get_handle(), &found));
        return found != 0;
    }
    /// Waits until it is ready.
    void wait() const { detail::check(taskring_async_wait(get_handle(), TASKRING_INFINITE)); }
    /// The same within a time: false when that was over before.
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> time) const {
        const taskring_status status = taskring_async_wait(get_handle(), detail::nanoseconds(time));
        if (status == TASKRING_TIMED_OUT)
            return false;
        detail::check(status);
        return true;
    }
    /// Waits for the result and decodes it, as often as it is asked for. Throws how the task ended; of a map that of the first input that failed, once all
    /// are over; terminated_error when the pool was terminated before.
    value_type get() const { return fetch(TASKRING_INFINITE); }
    /// The same within a time, or timeout_error, after which the work goes on.
    template <class Rep, class Period> value_type get_for(std::chrono::duration<Rep, Period> time) const { return fetch(detail::nanoseconds(time)); }
    /// As C knows it.
    taskring_async *get_handle() const noexcept { return result_.get(); }

private:
    struct free_result {
        void operator()(taskring_async *result) const noexcept { taskring_async_free(result); }
    };

    value_type fetch(std::uint64_t timeout_ns) const {
        std::vector<taskring_bytes> values(1);
        std::size_t count = 0;
        taskring_status status = taskring_async_get(get_handle(), timeout_ns, values.data(), values.size(), &count);
        if (status == TASKRING_BUFFER_TOO_SMALL) {
            values.resize(count);
            status = taskring_async_get(get_handle(), 0, values.data(), values.size(), &count);
        }
        detail::check(status);
        return detail::gathered<T>::decode(values.data(), count);
    }

    std::unique_ptr<taskring_async, free_result> result_;
};

/// A pool whose calls are those of multiprocessing.Pool. Any thread may use it. Destroying it ends it at once, as terminate does: to have everything run
/// say close and join before. A taskring::pool waits instead.
class multi_pool {
    /// What a task's place in a list is.
    template <class R> using item = std::conditional_t<std::is_void_v<R>, std::monostate, R>;
    template <class R> using list = list_of<item<R>>;

public:
    explicit multi_pool(const config &chosen = config()) {
        taskring_multi *made = nullptr;
        detail::check(taskring_multi_create(&chosen, &made));
        multi_.reset(made);
    }

    /// Runs a task and waits for its result.
    template <class R, class... A, class... G> R apply(task<R(A...)> which, G &&...args) {
        return apply_async(which, std::forward<G>(args)...).get();
    }
    /// Submits a task.
    template <class R, class... A, class... G> async_result<R> apply_async(task<R(A...)> which, G &&...args) {
        return send<R>(nullptr, which, std::forward<G>(args)...);
    }
    /// The same, and calls on_value with the result or on_error with a std::exception_ptr of what get throws: one of the two, once, in a thread of this
    /// process, before the result is ready. It should be short, for later callbacks of the pool wait for it. What it throws is logged (see set_log). Of a
    /// task that gives nothing on_value takes nothing. When this throws, none is called.
    template <class R, class... A, class OnValue, class OnError, class... G>
    async_result<R> apply_async_with(OnValue on_value, OnError on_error, task<R(A...)> which, G &&...args) {
        // They are given away only when everything is encoded.
        std::string bytes;
        detail::encode_arguments(which, bytes, std::forward<G>(args)...);
        const taskring_callbacks calls = callbacks<R>(std::move(on_value), std::move(on_error));
        return send_bytes<R>(&calls, which.name(), bytes);
    }

    /// Runs a task over the inputs of a range, in chunks, and gives all results in their order; std::monostate for a task that gives nothing. Each input is
    /// an argument, or a tuple of them for a task with several. When one fails, this throws once all are over.
    template <class R, class... A, class Range> auto map(task<R(A...)> which, Range &&inputs, std::size_t chunk = 0) {
        return map_async(which, std::forward<Range>(inputs), chunk).get();
    }
    /// The same without waiting. The inputs are read in this call, and what they throw comes out of it, with nothing submitted. `chunk` inputs go into one
    /// task; 0 is as many as give each worker four tasks.
    template <class R, class... A, class Range> auto map_async(task<R(A...)> which, Range &&inputs, std::size_t chunk = 0) {
        auto all = encoded(which, std::forward<Range>(inputs));
        return send_all<R>(nullptr, which.name(), all.described(), chunk);
    }
    /// The same, and calls back with all results or with the error, as apply_async_with does.
    template <class R, class... A, class OnValue, class OnError, class Range>
    auto map_async_with(OnValue on_value, OnError on_error, task<R(A...)> which, Range &&inputs, std::size_t chunk = 0) {
        // They are given away only when nothing here can fail any more.
        auto all = encoded(which, std::forward<Range>(inputs));
        const auto &described = all.described();
        const taskring_callbacks calls = callbacks<list<R>>(std::move(on_value), std::move(on_error));
        return send_all<R>(&calls, which.name(), described, chunk);
    }

    /// Gives the results one by one, in the order of the inputs, which are read as results are taken: no further than for twice as many tasks as there are
    /// workers. `chunk` inputs go into one task. The pool may be closed meanwhile; what has no result when it is terminated is terminated_error at its place.
    /// Inputs as of map; `inputs` must outlive the results, if it is not moved in.
    template <class R, class... A, class Range> results<R> imap(task<R(A...)> which, Range &&inputs, std::size_t chunk = 1) {
        return imap(which, std::forward<Range>(inputs), in_chunks(chunk));
    }
    /// The same as their tasks end.
    template <class R, class... A, class Range> results<R> imap_unordered(task<R(A...)> which, Range &&inputs, std::size_t chunk = 1) {
        return imap(which, std::forward<Range>(inputs), in_chunks(chunk).unordered());
    }
    /// The same with options: another window, or a time for all results.
    template <class R, class... A, class Range> results<R> imap(task<R(A...)> which, Range &&inputs, const map_options &how) {
        using source = detail::inputs_of<task<R(A...)>, Range>;
        return results<R>(get(), which.name(), std::make_unique<source>(std::forward<Range>(inputs)), how);
    }

    /// Takes no new work from now on; what was submitted runs, and maps that go on read the rest of their inputs.
    void close() { detail::check(taskring_multi_close(get())); }
    /// Ends the pool at once: see taskring_multi_terminate.
    void terminate() { detail::check(taskring_multi_terminate(get())); }
    /// Waits until all work is over and the workers have left; before close or terminate invalid_state_error.
    void join() { detail::check(taskring_multi_join(get())); }
    taskring_multi *get() const noexcept { return multi_.get(); }

private:
    /// For C a chunk of 0 is its default.
    static map_options in_chunks(std::size_t inputs) {
        if (inputs == 0)
            throw invalid_argument_error(TASKRING_INVALID_ARGUMENT, "the map's chunk is 0; wanted at least 1");
        return map_options().chunk(inputs);
    }
    struct free_multi {
        void operator()(taskring_multi *multi) const noexcept { taskring_multi_free(multi); }
    };
    /// Inputs one behind the other, and where each of them ends.
    struct inputs {
        std::string bytes;
        std::vector<std::size_t> ends;
        std::vector<taskring_bytes> all;

        /// As C takes them, for as long as this is.
        const std::vector<taskring_bytes> &described() {
            std::size_t at = 0;
            all.reserve(ends.size());
            for (const std::size_t end : ends) {
                all.push_back({bytes.data() + at, end - at});
                at = end;
            }
            return all;
        }
    };

    template <class T, class OnValue, class OnError> static taskring_callbacks callbacks(OnValue on_value, OnError on_error) {
        using kept = detail::callbacks_of<T, OnValue, OnError>;
        return kept::given_away(std::make_unique<kept>(std::move(on_value), std::move(on_error)));
    }

    template <class R, class... A, class... G> async_result<R> send(const taskring_callbacks *calls, task<R(A...)> which, G &&...args) {
        std::string bytes;
        detail::encode_arguments(which, bytes, std::forward<G>(args)...);
        return send_bytes<R>(calls, which.name(), bytes);
    }
    template <class R> async_result<R> send_bytes(const taskring_callbacks *calls, const char *name, const std::string &bytes) {
        taskring_async *made = nullptr;
        detail::check(taskring_multi_apply_async(get(), name, bytes.data(), bytes.size(), calls, &made));
        return async_result<R>(made);
    }

    template <class R, class... A, class Range> static inputs encoded(task<R(A...)>, Range &&range) {
        static_assert(sizeof...(A) != 0, "a task without parameters has no inputs");
        inputs all;
        for (auto &&input : range) {
            using given = decltype(input);
            if constexpr (sizeof...(A) == 1)
                detail::encode_arguments(task<R(A...)>(""), all.bytes, std::forward<given>(input));
            else
                std::apply([&](auto &&...one) { detail::encode_arguments(task<R(A...)>(""), all.bytes, std::forward<decltype(one)>(one)...); },
                           std::forward<given>(input));
            all.ends.push_back(all.bytes.size());
        }
        return all;
    }
    template <class R>
    async_result<list<R>> send_all(const taskring_callbacks *calls, const char *name, const std::vector<taskring_bytes> &all, std::size_t chunk) {
        taskring_async *made = nullptr;
        detail::check(taskring_multi_map_async(get(), name, all.data(), all.size(), chunk, calls, &made));
        return async_result<list<R>>(made);
    }

    std::unique_ptr<taskring_multi, free_multi> multi_;
};

} // namespace taskring

#endif
