// What workers are given: initializer, exit hook, names and numbers, shared values.
#include "check.hpp"
#include <cstdlib>
#include <sched.h>

namespace {

const taskring::task<void(std::string, std::uint64_t)> set_up{"set_up"};
const taskring::task<void()> tidy_up{"tidy_up"};
const taskring::task<std::string()> ask_desk{"ask_desk"};
const taskring::task<std::string()> who{"who"};
const taskring::task<std::string()> page{"page"};
const taskring::task<std::string()> variable{"variable"};
const taskring::task<int()> cpus{"cpus"};
const taskring::task<void(std::uint64_t)> fill{"fill"};

/// What the initializer leaves: each thread of a program has its own.
thread_local std::string desk;

void define_all() {
    taskring::define(set_up, [](std::string what, std::uint64_t times) {
        if (times == 0)
            throw std::runtime_error("no desk anywhere");
        for (std::uint64_t i = 0; i < times; i++)
            desk += what;
    });
    taskring::define(tidy_up, [] { desk.clear(); });
    taskring::define(ask_desk, [] { return desk; });
    taskring::define(who, [] { return taskring::worker_name() + "|" + std::to_string(taskring::worker_number().value()); });
    taskring::define(variable, [] {
        const char *found = std::getenv("SETUP_VARIABLE");
        return std::string(found == nullptr ? "" : found);
    });
    taskring::define(cpus, [] {
        cpu_set_t set;
        return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
    });
    taskring::define(fill, [](std::uint64_t bytes) { std::string(bytes, 'x'); });
    taskring::define(page, [] { return std::string(taskring::shared("page")); });
}

void given(std::uint32_t method) {
    const std::string bytes(1000, 'p');
    taskring::pool pool(taskring::setup()
                            .names("crew")
                            .initializer(set_up, "ab", 3)
                            .exit_hook(tidy_up)
                            .share("page", bytes)
                            .share("nothing", "")
                            .apply(make_config(method, 1)));
    CHECK(pool.submit(ask_desk).get() == "ababab");
    CHECK(pool.submit(who).get() == "crew_0|0");
    CHECK(pool.submit(page).get() == bytes);
    CHECK(taskring::shared(pool, "page") == bytes && taskring::shared(pool, "nothing").empty());
    CHECK(status_of([&] { taskring::shared(pool, "other"); }) == TASKRING_INVALID_ARGUMENT);
    CHECK(!taskring::worker_number() && taskring::worker_name().empty());
}

void given_resources(std::uint32_t method) {
    constexpr std::uint64_t quarter = 256 << 20;
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    std::uint32_t cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    taskring::setup made;
    made.cpus({cpu});
    if (method == TASKRING_SPAWN)
        made.env("SETUP_VARIABLE", "a=b").memory_max(quarter);
    taskring::pool pool(made.apply(make_config(method, 1)));
    CHECK(pool.submit(cpus).get() == 1);
    if (method == TASKRING_SPAWN) {
        CHECK(pool.submit(variable).get() == "a=b");
        const auto text = thrown<taskring::task_error>([&] { pool.submit(fill, quarter).get(); });
        CHECK(text.find("bad_alloc") != std::string::npos);
        pool.submit(fill, quarter / 4).get();
    }
    const auto refused = [&](taskring::setup &&wrong) {
        return status_of([&] { taskring::pool none(wrong.apply(make_config(method, 1))); }) == TASKRING_INVALID_ARGUMENT;
    };
    CHECK(refused(std::move(taskring::setup().cpus({}))));
    CHECK(refused(std::move(taskring::setup().cpus({8191}))));
    CHECK(refused(std::move(taskring::setup().env("", "x"))));
    // What would be no more than the default is refused where it is said.
    CHECK(status_of([] { taskring::setup().names(""); }) == TASKRING_INVALID_ARGUMENT);
    CHECK(thrown<taskring::invalid_argument_error>([] { taskring::setup().memory_max(0); }) == "worker_memory_max is 0; wanted at least 1");
}

void failing(std::uint32_t method) {
    taskring::setup made;
    taskring::pool pool(made.initializer(set_up, "ab", 0).apply(make_config(method, 1)));
    const auto text = thrown<taskring::error>([&] { pool.submit(ask_desk).get(); });
    CHECK(text.find("no desk anywhere") != std::string::npos);
    CHECK(status_of([&] { pool.submit(ask_desk).get(); }) == TASKRING_BROKEN);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    for (const std::uint32_t method : {TASKRING_SPAWN, TASKRING_THREAD}) {
        given(method);
        given_resources(method);
        failing(method);
    }
    std::puts("ok");
}
