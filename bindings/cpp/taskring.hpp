// taskring for C++17: RAII over taskring.h, typed tasks, exceptions. No logic of its own.
//
// A task is a name with types; every program that runs it registers a function or a lambda without captures for it, before init. Arguments and
// results are encoded by codec<T>: trivially copyable types as their bytes; std::string, std::vector, std::optional, std::tuple and std::pair of
// such; specialise taskring::codec for your own. Both sides must agree on them.
//
//     const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
//
//     int main(int argc, char **argv) {
//         taskring::define(square, [](std::uint64_t x) { return x * x; });
//         taskring::init(argc, argv);
//         taskring::pool pool;
//         return pool.submit(square, 7).get() == 49 ? 0 : 1;
//     }
//
// Functions that fail throw taskring::error or a class derived from it; those that begin with try_ return an empty optional instead when there is no
// room. Any thread may use a pool; a future belongs to one thread at a time. An exception in a task is caught in the worker and thrown
// again as taskring::task_error by get. A lambda with captures cannot be a task: a worker in another process would not have what it captured.
#ifndef TASKRING_HPP
#define TASKRING_HPP

#include <taskring.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace taskring {

/// Any status but TASKRING_OK.
class error : public std::runtime_error {
public:
    error(taskring_status status, const std::string &text) : std::runtime_error(text), status_(status) {}
    taskring_status status() const noexcept { return status_; }

private:
    taskring_status status_;
};

/// The task returned an error, threw, or panicked: what() is its own message.
class task_error : public error {
    using error::error;
};
/// The task was cancelled before it started.
class cancelled_error : public error {
    using error::error;
};
/// The time allowed went by.
class timeout_error : public error {
    using error::error;
};
/// The worker died while it ran the task.
class worker_lost : public error {
public:
    worker_lost(const std::string &text, const taskring_loss &loss) : error(TASKRING_WORKER_LOST, text), loss_(loss) {}
    const taskring_loss &loss() const noexcept { return loss_; }

private:
    taskring_loss loss_;
};

namespace detail {

[[noreturn]] inline void fail(taskring_status status) {
    const std::string text = taskring_last_error();
    switch (status) {
    case TASKRING_TASK_FAILED:
    case TASKRING_PANICKED:
        throw task_error(status, text);
    case TASKRING_CANCELLED:
        throw cancelled_error(status, text);
    case TASKRING_TIMED_OUT:
        throw timeout_error(status, text);
    case TASKRING_WORKER_LOST: {
        taskring_loss loss{};
        taskring_last_loss(&loss);
        throw worker_lost(text, loss);
    }
    default:
        throw error(status, text);
    }
}

inline void check(taskring_status status) {
    if (status != TASKRING_OK)
        fail(status);
}

template <class Rep, class Period> std::uint64_t nanoseconds(std::chrono::duration<Rep, Period> time) {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
}

} // namespace detail

/// Bytes that are being read.
class reader {
public:
    reader(const void *data, std::size_t len) : at_(static_cast<const char *>(data)), left_(len) {}
    /// The next `len` bytes.
    const char *take(std::size_t len) {
        if (len > left_)
            throw error(TASKRING_DECODE, "bytes are missing: the other side encodes another type");
        const char *at = at_;
        at_ += len;
        left_ -= len;
        return at;
    }
    std::size_t left() const noexcept { return left_; }

private:
    const char *at_;
    std::size_t left_;
};

/// How a type goes through the pool: specialise it for your own types.
template <class T, class = void> struct codec {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_reference_v<T>,
                  "specialise taskring::codec for this type: it is not trivially copyable (or is a pointer, which means nothing in another process)");
    static void encode(const T &value, std::string &to) { to.append(reinterpret_cast<const char *>(&value), sizeof value); }
    static T decode(reader &from) {
        T value;
        std::memcpy(&value, from.take(sizeof value), sizeof value);
        return value;
    }
};

template <> struct codec<std::string> {
    static void encode(const std::string &value, std::string &to) {
        codec<std::uint64_t>::encode(value.size(), to);
        to.append(value);
    }
    static std::string decode(reader &from) {
        const auto len = static_cast<std::size_t>(codec<std::uint64_t>::decode(from));
        return std::string(from.take(len), len);
    }
};

template <class T> struct codec<std::vector<T>> {
    static void encode(const std::vector<T> &value, std::string &to) {
        codec<std::uint64_t>::encode(value.size(), to);
        if constexpr (std::is_trivially_copyable_v<T> && !std::is_same_v<T, bool>) {
            to.append(reinterpret_cast<const char *>(value.data()), value.size() * sizeof(T));
        } else {
            for (const T &item : value)
                codec<T>::encode(item, to);
        }
    }
    static std::vector<T> decode(reader &from) {
        const auto len = static_cast<std::size_t>(codec<std::uint64_t>::decode(from));
        std::vector<T> value;
        if constexpr (std::is_trivially_copyable_v<T> && !std::is_same_v<T, bool>) {
            if (len > from.left() / sizeof(T))
                throw error(TASKRING_DECODE, "bytes are missing: the other side encodes another type");
            value.resize(len);
            if (len != 0)
                std::memcpy(value.data(), from.take(len * sizeof(T)), len * sizeof(T));
        } else {
            for (std::size_t i = 0; i < len; i++)
                value.push_back(codec<T>::decode(from));
        }
        return value;
    }
};

template <class T> struct codec<std::optional<T>> {
    static void encode(const std::optional<T> &value, std::string &to) {
        codec<std::uint8_t>::encode(value.has_value(), to);
        if (value)
            codec<T>::encode(*value, to);
    }
    static std::optional<T> decode(reader &from) {
        if (codec<std::uint8_t>::decode(from) == 0)
            return std::nullopt;
        return codec<T>::decode(from);
    }
};

template <class... T> struct codec<std::tuple<T...>> {
    static void encode(const std::tuple<T...> &value, std::string &to) {
        std::apply([&to](const T &...item) { (codec<T>::encode(item, to), ...); }, value);
    }
    static std::tuple<T...> decode(reader &from) { return std::tuple<T...>{codec<T>::decode(from)...}; }
};

template <class A, class B> struct codec<std::pair<A, B>> {
    static void encode(const std::pair<A, B> &value, std::string &to) {
        codec<A>::encode(value.first, to);
        codec<B>::encode(value.second, to);
    }
    static std::pair<A, B> decode(reader &from) {
        A first = codec<A>::decode(from);
        return {std::move(first), codec<B>::decode(from)};
    }
};

/// A task: a name, and what it takes and gives.
template <class> class task;
template <class R, class... A> class task<R(A...)> {
public:
    using result_type = R;
    using arguments = std::tuple<std::decay_t<A>...>;
    explicit constexpr task(const char *name) noexcept : name_(name) {}
    constexpr const char *name() const noexcept { return name_; }

private:
    const char *name_;
};

namespace detail {

template <class F, class R, class... A> std::int32_t run(taskring_call *call, const F &function, task<R(A...)>) noexcept {
    try {
        std::size_t len = 0;
        const void *args = taskring_call_args(call, &len);
        reader from(args, len);
        auto values = codec<typename task<R(A...)>::arguments>::decode(from);
        if (from.left() != 0)
            throw error(TASKRING_DECODE, "bytes are left over: the other side encodes another type");
        std::string result;
        if constexpr (std::is_void_v<R>)
            std::apply(function, std::move(values));
        else
            codec<R>::encode(std::apply(function, std::move(values)), result);
        return taskring_call_set_result(call, result.data(), result.size());
    } catch (const std::exception &e) {
        taskring_call_fail(call, e.what());
    } catch (...) {
        taskring_call_fail(call, "an exception that is no std::exception");
    }
    return 1;
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

/// The first line of main after the definitions: in a worker process it does not return.
inline void init(int argc, char **argv) { detail::check(taskring_init(argc, argv)); }

/// Serves the named pool in this thread until it ends.
inline void work(const std::string &name) { detail::check(taskring_work(name.c_str())); }

/// Whether the submitter asked the running task to stop.
inline bool cancel_requested() noexcept { return taskring_cancel_requested() != 0; }

enum class state { pending = TASKRING_PENDING, running = TASKRING_RUNNING, cancelled = TASKRING_STATE_CANCELLED, done = TASKRING_DONE };

/// A task that was submitted. Destroying it lets the task run and drops its result. It must not outlive its pool.
template <class R> class future {
public:
    future() noexcept = default;
    future(taskring_pool *pool, std::uint64_t ticket) noexcept : pool_(pool), ticket_(ticket) {}
    future(future &&other) noexcept : pool_(other.pool_), ticket_(std::exchange(other.ticket_, 0)) {}
    future &operator=(future &&other) noexcept {
        if (this != &other) {
            release();
            pool_ = other.pool_;
            ticket_ = std::exchange(other.ticket_, 0);
        }
        return *this;
    }
    ~future() { release(); }

    /// Waits for the result and takes it: once.
    R get() { return take(TASKRING_INFINITE); }
    /// The same within a time, after which the future is still good.
    template <class Rep, class Period> R get_for(std::chrono::duration<Rep, Period> time) { return take(detail::nanoseconds(time)); }
    /// Waits until the task is over: false when the time was over before.
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> time) const {
        const taskring_status status = taskring_wait(pool_, ticket_, detail::nanoseconds(time));
        if (status == TASKRING_TIMED_OUT)
            return false;
        detail::check(status);
        return true;
    }
    void wait() const { detail::check(taskring_wait(pool_, ticket_, TASKRING_INFINITE)); }
    /// True when the task will never run; a running one is asked to stop.
    bool cancel() {
        std::uint32_t cancelled = 0;
        detail::check(taskring_cancel(pool_, ticket_, &cancelled));
        return cancelled != 0;
    }
    taskring::state state() const {
        std::uint32_t found = 0;
        detail::check(taskring_state(pool_, ticket_, &found));
        return static_cast<taskring::state>(found);
    }
    /// Whether there is a task: false when the result was taken.
    bool valid() const noexcept { return ticket_ != 0; }
    std::uint64_t ticket() const noexcept { return ticket_; }
    taskring_pool *pool() const noexcept { return pool_; }

private:
    void release() noexcept {
        if (ticket_ != 0)
            taskring_release(pool_, std::exchange(ticket_, 0));
    }

    R take(std::uint64_t timeout_ns) {
        char small[128];
        std::size_t len = 0;
        taskring_status status = taskring_result(pool_, ticket_, timeout_ns, small, sizeof small, &len);
        if (status == TASKRING_BUFFER_TOO_SMALL) {
            std::unique_ptr<char[]> large(new char[len]);
            status = taskring_result(pool_, ticket_, 0, large.get(), len, &len);
            return finish(status, large.get(), len);
        }
        return finish(status, small, len);
    }

    R finish(taskring_status status, const char *data, std::size_t len) {
        if (status != TASKRING_TIMED_OUT)
            ticket_ = 0;
        detail::check(status);
        reader from(data, len);
        if constexpr (std::is_void_v<R>)
            return;
        else
            return codec<R>::decode(from);
    }

    taskring_pool *pool_ = nullptr;
    std::uint64_t ticket_ = 0;
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

/// Options of a pool: the fields of taskring_config, with their sizes set.
struct config : taskring_config {
    config() : taskring_config TASKRING_CONFIG_INIT {}
};

/// A process pool. Destroying it waits for everything that was submitted.
class pool {
public:
    explicit pool(const config &options = config()) {
        taskring_pool *made = nullptr;
        detail::check(taskring_create(&options, &made));
        pool_.reset(made);
    }
    /// A pool that other programs attach to.
    static pool create_named(const std::string &name, const config &options = config()) {
        taskring_pool *made = nullptr;
        detail::check(taskring_create_named(&options, name.c_str(), &made));
        return pool(made);
    }
    static pool attach(const std::string &name) {
        taskring_pool *made = nullptr;
        detail::check(taskring_attach(name.c_str(), &made));
        return pool(made);
    }

    /// Submits a task; waits while the ring is full.
    template <class R, class... A, class... G> future<R> submit(task<R(A...)> which, G &&...args) {
        return send(which, nullptr, std::forward<G>(args)...);
    }
    /// The same into a set.
    template <class R, class... A, class... G> future<R> submit(const task_set &set, task<R(A...)> which, G &&...args) {
        taskring_options options TASKRING_OPTIONS_INIT;
        options.set = set.get();
        return send(which, &options, std::forward<G>(args)...);
    }
    /// The same, when there is room now.
    template <class R, class... A, class... G> std::optional<future<R>> try_submit(task<R(A...)> which, G &&...args) {
        std::uint64_t ticket = 0;
        const std::string bytes = encode(which, std::forward<G>(args)...);
        const taskring_status status =
            taskring_submit_timed(get(), number(which.name()), bytes.data(), bytes.size(), nullptr, 0, &ticket);
        if (status == TASKRING_FULL)
            return std::nullopt;
        detail::check(status);
        return future<R>(get(), ticket);
    }
    task_set new_set() { return task_set(get()); }
    /// No new tasks from now on. See taskring_shutdown.
    void shutdown(bool wait, bool cancel_pending) { detail::check(taskring_shutdown(get(), wait, cancel_pending)); }
    taskring_stats stats() const {
        taskring_stats found TASKRING_STATS_INIT;
        detail::check(taskring_pool_stats(get(), &found));
        return found;
    }
    taskring_pool *get() const noexcept { return pool_.get(); }

private:
    struct free_pool {
        void operator()(taskring_pool *pool) const noexcept { taskring_free(pool); }
    };
    /// Numbers of functions that were asked for.
    struct names {
        std::mutex mutex;
        std::map<std::string, std::uint32_t, std::less<>> numbers;
    };

    explicit pool(taskring_pool *made) : pool_(made) {}

    std::uint32_t number(const char *name) {
        const std::lock_guard<std::mutex> guard(names_->mutex);
        const auto known = names_->numbers.find(name);
        if (known != names_->numbers.end())
            return known->second;
        std::uint32_t number = 0;
        detail::check(taskring_function(get(), name, &number));
        names_->numbers.emplace(name, number);
        return number;
    }

    template <class R, class... A, class... G> static std::string encode(task<R(A...)>, G &&...args) {
        static_assert(std::is_constructible_v<typename task<R(A...)>::arguments, G...>, "these are not the task's arguments");
        std::string bytes;
        codec<typename task<R(A...)>::arguments>::encode(typename task<R(A...)>::arguments(std::forward<G>(args)...), bytes);
        return bytes;
    }

    template <class R, class... A, class... G> future<R> send(task<R(A...)> which, const taskring_options *options, G &&...args) {
        std::uint64_t ticket = 0;
        const std::string bytes = encode(which, std::forward<G>(args)...);
        detail::check(taskring_submit(get(), number(which.name()), bytes.data(), bytes.size(), options, &ticket));
        return future<R>(get(), ticket);
    }

    std::unique_ptr<taskring_pool, free_pool> pool_;
    std::unique_ptr<names> names_ = std::make_unique<names>();
};

/// Calls `each(index, future)` for every future as its task ends, in that order as far as it was seen. If `each` returns bool, false ends it.
template <class R, class F> void as_completed(std::vector<future<R>> &futures, F each) {
    std::vector<taskring_future> waits;
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < futures.size(); i++) {
        waits.push_back({futures[i].pool(), futures[i].ticket()});
        indices.push_back(i);
    }
    std::vector<std::uint8_t> over(futures.size());
    while (!waits.empty()) {
        detail::check(taskring_wait_many(waits.data(), waits.size(), TASKRING_FIRST_COMPLETED, TASKRING_INFINITE, over.data(), nullptr));
        std::vector<std::size_t> ended;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < waits.size(); i++) {
            if (over[i] != 0) {
                ended.push_back(indices[i]);
            } else {
                waits[kept] = waits[i];
                indices[kept++] = indices[i];
            }
        }
        waits.resize(kept);
        indices.resize(kept);
        for (const std::size_t index : ended) {
            if constexpr (std::is_same_v<std::invoke_result_t<F &, std::size_t, future<R> &>, bool>) {
                if (!each(index, futures[index]))
                    return;
            } else {
                each(index, futures[index]);
            }
        }
    }
}

} // namespace taskring

#endif
