// What the workers of a pool are given before their first task and do after their last, and what a task asks of its worker.
#ifndef TASKRING_SETUP_HPP
#define TASKRING_SETUP_HPP

#include "options.hpp"
#include "task.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskring {

/// Adds to a pool's options: taskring::pool pool(taskring::setup().names("crew").initializer(open, path).apply(chosen)). What it has been given it keeps;
/// the config that apply gives is good as long as this is, and a pool that was made of it needs neither. See taskring_config.
class setup {
public:
    setup() = default;
    // The config points into this.
    setup(const setup &) = delete;
    setup &operator=(const setup &) = delete;

    /// What workers are called: this, '_' and their number. 1 to 192 bytes.
    setup &names(std::string prefix) {
        if (prefix.empty())
            throw invalid_argument_error(TASKRING_INVALID_ARGUMENT, "worker_names is \"\"; wanted 1 to 192 bytes");
        return names_ = std::move(prefix), *this;
    }
    /// A task that each worker runs once, before its first task. An exception in it breaks the pool, with its text.
    template <class... A, class... G> setup &initializer(task<void(A...)> which, G &&...args) {
        return set(initializer_, has_initializer_, which, std::forward<G>(args)...);
    }
    /// A task that each worker runs once, when it leaves in good order.
    template <class... A, class... G> setup &exit_hook(task<void(A...)> which, G &&...args) {
        return set(exit_hook_, has_exit_hook_, which, std::forward<G>(args)...);
    }
    /// Bytes that every worker reads where they lie, by taskring::shared.
    setup &share(std::string name, std::string bytes) {
        shared_.push_back({std::move(name), std::move(bytes)});
        return *this;
    }

    /// A further variable in the environment of the worker processes. Refused with threads.
    setup &env(const std::string &name, const std::string &value) {
        env_.push_back(name + "=" + value);
        return *this;
    }
    /// Pins the workers: number n runs on the CPU at place n alone, counted around.
    setup &cpus(std::vector<std::uint32_t> cpus) { return cpus_ = std::move(cpus), *this; }
    /// Bytes of memory of its own that each worker process may have, at least 1. Refused with threads.
    setup &memory_max(std::uint64_t bytes) { return memory_max_ = detail::at_least_1("worker_memory_max", bytes), *this; }
    /// After how many tasks a worker leaves and another one takes its place, at least 1. See taskring_config.
    setup &max_tasks_per_worker(std::uint32_t tasks) {
        if (tasks == 0)
            throw invalid_argument_error(TASKRING_INVALID_ARGUMENT, "max_tasks_per_worker is 0; wanted 1 to 4294967295");
        return max_tasks_per_worker_ = tasks, *this;
    }

    /// How many workers are started at once; the others come on demand. See taskring_config.
    setup &min_workers(std::uint32_t workers) { return min_workers_ = workers, *this; }
    /// How long one beyond them may have nothing to do before it leaves: more than 0 and up to 49 days.
    setup &idle_timeout(std::chrono::nanoseconds limit) {
        if (limit.count() <= 0)
            throw invalid_argument_error(TASKRING_INVALID_ARGUMENT, "idle_timeout is not more than 0; wanted more than 0 and up to 49 days");
        return idle_timeout_ = limit, *this;
    }

    /// How many further workers may come while others wait in their tasks for tasks that run elsewhere. See taskring_config.
    setup &replacements(std::uint32_t workers) { return replacements_ = workers, *this; }

    config apply(config chosen = config()) {
        raw_env_.clear();
        for (const std::string &one : env_)
            raw_env_.push_back(one.c_str());
        if (!raw_env_.empty()) {
            raw_env_.push_back(nullptr);
            chosen.worker_env = raw_env_.data();
        }
        if (cpus_) {
            // An empty list is refused by its address: it has to have one.
            static const std::uint32_t none = 0;
            chosen.worker_cpus = cpus_->empty() ? &none : cpus_->data();
            chosen.worker_cpus_count = cpus_->size();
        }
        if (memory_max_)
            chosen.worker_memory_max = memory_max_;
        if (!names_.empty())
            chosen.worker_names = names_.c_str();
        if (max_tasks_per_worker_ != 0)
            chosen.max_tasks_per_worker = max_tasks_per_worker_;
        if (min_workers_)
            chosen.min_workers = *min_workers_ == 0 ? TASKRING_NONE_AT_FIRST : *min_workers_;
        if (idle_timeout_.count() != 0)
            chosen.idle_timeout_ns = static_cast<std::uint64_t>(idle_timeout_.count());
        if (replacements_ != 0)
            chosen.replacements = replacements_;
        if (has_initializer_)
            chosen.initializer = &(raw_initializer_ = initializer_.raw());
        if (has_exit_hook_)
            chosen.exit_hook = &(raw_exit_hook_ = exit_hook_.raw());
        raw_shared_.clear();
        for (const named &one : shared_)
            raw_shared_.push_back(one.raw());
        if (!raw_shared_.empty()) {
            chosen.shared = raw_shared_.data();
            chosen.shared_count = raw_shared_.size();
        }
        return chosen;
    }

private:
    struct named {
        std::string name, bytes;
        taskring_named_bytes raw() const { return {name.c_str(), bytes.data(), bytes.size()}; }
    };
    template <class... A, class... G> setup &set(named &to, bool &has, task<void(A...)> which, G &&...args) {
        named made{which.name(), {}};
        detail::encode_arguments(which, made.bytes, std::forward<G>(args)...);
        to = std::move(made);
        has = true;
        return *this;
    }

    std::string names_;
    named initializer_, exit_hook_;
    std::uint32_t max_tasks_per_worker_ = 0;
    std::optional<std::uint32_t> min_workers_;
    std::uint32_t replacements_ = 0;
    std::chrono::nanoseconds idle_timeout_{0};
    bool has_initializer_ = false, has_exit_hook_ = false;
    std::vector<named> shared_;
    std::vector<std::string> env_;
    std::vector<const char *> raw_env_;
    std::optional<std::vector<std::uint32_t>> cpus_;
    std::uint64_t memory_max_ = 0;
    taskring_named_bytes raw_initializer_{}, raw_exit_hook_{};
    std::vector<taskring_named_bytes> raw_shared_;
};

/// The number of the worker that runs in this thread; nothing outside a worker, and in one that came by taskring::work.
inline std::optional<std::uint32_t> worker_number() noexcept {
    const std::int32_t number = taskring_worker_number();
    return number < 0 ? std::nullopt : std::optional<std::uint32_t>(static_cast<std::uint32_t>(number));
}
/// Its name; empty where it has no number.
inline std::string worker_name() {
    const char *name = taskring_worker_name();
    return name == nullptr ? std::string() : std::string(name);
}
/// In a task: a value that the pool shares, where it lies; good until the worker leaves. Throws when there is none of that name.
inline std::string_view shared(const std::string &name) {
    const void *data = nullptr;
    std::size_t len = 0;
    detail::check(taskring_shared(nullptr, name.c_str(), &data, &len));
    return {static_cast<const char *>(data), len};
}
/// The same for who has the pool; good until the handle is freed.
template <class Pool> std::string_view shared(const Pool &pool, const std::string &name) {
    const void *data = nullptr;
    std::size_t len = 0;
    detail::check(taskring_shared(pool.get(), name.c_str(), &data, &len));
    return {static_cast<const char *>(data), len};
}

} // namespace taskring

#endif
