// What a program asks about tasks, statuses and pools, and many tasks at once.
#include "check.hpp"

#include <csignal>
#include <unistd.h>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<std::uint64_t(std::uint64_t, std::uint64_t)> sum{"sum"};
const taskring::task<std::uint32_t()> third_time{"third_time"};
const taskring::task<std::uint64_t()> own_ticket{"own_ticket"};
const taskring::task<void()> until_asked{"until_asked"};
const taskring::task<void()> lay{"lay"};
const taskring::task<void()> fail_at_once{"fail_at_once"};

void define_all() {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(sum, [](std::uint64_t a, std::uint64_t b) { return a + b; });
    taskring::define(third_time, [] {
        if (taskring::attempt() < 2)
            throw std::runtime_error("busy");
        return taskring::attempt();
    });
    taskring::define(own_ticket, [] { return taskring::task_ticket(); });
    taskring::define(until_asked, [] {
        for (int i = 0; i < 20000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
    });
    taskring::define(lay, [] {
        try {
            throw std::runtime_error("no wood");
        } catch (...) {
            std::throw_with_nested(std::logic_error("no table"));
        }
    });
    taskring::define(fail_at_once, [] { throw std::runtime_error("no start"); });
}

void of_tasks(taskring::pool &pool, std::uint32_t method) {
    CHECK(pool.submit(taskring::options().retry(taskring::retry(5)), third_time).get() == 2 && taskring::attempt() == 0);
    auto own = pool.submit(own_ticket);
    const std::uint64_t ticket = own.ticket();
    CHECK(own.get() == ticket && taskring::task_ticket() == 0);
    auto running = pool.submit(until_asked);
    until_running(running);
    const auto pid = running.worker_pid();
    CHECK(pid && (method == TASKRING_THREAD) == (*pid == static_cast<std::uint32_t>(getpid())));
    auto pending = pool.submit(square, 3u);
    CHECK(!pending.worker_pid());
    running.cancel();
    running.get();
    thrown<taskring::invalid_state_error>([&] { taskring::future<void>(pool.get(), ticket).worker_pid(); });
}

void in_bulk(taskring::pool &pool) {
    std::vector<std::uint64_t> inputs(200);
    for (std::size_t i = 0; i < inputs.size(); i++)
        inputs[i] = i;
    auto futures = pool.submit_bulk(square, inputs);
    CHECK(futures.size() == inputs.size());
    for (std::size_t i = 0; i < inputs.size(); i++)
        CHECK(futures[i].get() == i * i);
    const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
    auto queue = taskring::completions();
    auto sums = pool.submit_bulk(taskring::options().completions(queue, 70), sum, pairs);
    std::uint64_t data = 0;
    while (const auto next = queue.next_for(LIMIT))
        data += next->user_data;
    CHECK(sums.size() == 2 && sums[0].get() == 3 && sums[1].get() == 7 && data == 70 + 71);
    CHECK(pool.submit_bulk(square, std::vector<int>()).empty());
    // What an input throws comes first.
    struct broken {
        operator std::uint64_t() const { throw std::range_error("no number"); }
    };
    const auto before = pool.stats();
    CHECK(thrown<std::range_error>([&] { pool.submit_bulk(square, std::vector<broken>(1)); }) == "no number");
    const auto after = pool.stats();
    CHECK(before.pending == after.pending && after.pending == 0);
}

void of_failures(taskring::pool &pool, std::uint32_t method) {
    const auto failed = pool.submit(lay).try_get();
    CHECK(failed.status() == TASKRING_TASK_FAILED && failed.message() == "no table: no wood" && failed.source() == "no wood");
    taskring::setup given;
    taskring::pool never(given.initializer(fail_at_once).apply(make_config(method, 1)));
    auto submitted = never.try_submit(square, 3u);
    taskring_status status = submitted.status();
    std::uint32_t kind = submitted.pool_kind();
    if (submitted) {
        const auto asked = submitted->try_get_for(LIMIT);
        CHECK(asked.source().empty());
        status = asked.status(), kind = asked.pool_kind();
    }
    CHECK(status == TASKRING_BROKEN && kind == (method == TASKRING_THREAD ? TASKRING_POOL_OF_THREADS : TASKRING_POOL_OF_PROCESSES));
    CHECK(taskring::status_name(TASKRING_FULL) == std::string("TASKRING_FULL"));
    CHECK(taskring::status_message(TASKRING_FULL) == std::string("every slot holds an unfinished task"));
    CHECK(taskring::version() == TASKRING_VERSION);
}

void of_pools() {
    const std::string name = "names-cpp-" + std::to_string(getpid());
    CHECK(!taskring::remove_dead(name));
    {
        const auto owner = taskring::pool::create_named(name, make_config(TASKRING_THREAD, 1));
        CHECK(status_of([&] { taskring::remove_dead(name); }) == TASKRING_EXISTS);
    }
    CHECK(!taskring::remove_dead(name));
    CHECK(status_of([] { taskring::remove_dead("no/slash"); }) == TASKRING_INVALID_ARGUMENT);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    for (const std::uint32_t method : {TASKRING_SPAWN, TASKRING_THREAD}) {
        taskring::pool pool(make_config(method, 1));
        of_tasks(pool, method);
        in_bulk(pool);
        of_failures(pool, method);
    }
    of_pools();
    std::puts("ok");
}
