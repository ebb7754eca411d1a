// What workers are given: initializer, exit hook, names and numbers, shared values.
#include "check.hpp"

namespace {

const taskring::task<void(std::string, std::uint64_t)> set_up{"set_up"};
const taskring::task<void()> tidy_up{"tidy_up"};
const taskring::task<std::string()> ask_desk{"ask_desk"};
const taskring::task<std::string()> who{"who"};
const taskring::task<std::string()> page{"page"};

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
        failing(method);
    }
    std::puts("ok");
}
