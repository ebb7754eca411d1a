// The article's examples in C++: see article.rs for what they print.
#include "seeds.hpp"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace {

/// What held tasks wait for. The workers are threads of this process.
std::atomic<bool> go{false};
/// How many callbacks were called.
std::atomic<int> called{0};

const taskring::task<double(int)> take_tenth{"take_tenth"};
const taskring::task<double(int)> held{"held"};
const taskring::task<std::tuple<int, double>(int)> both{"both"};
const taskring::task<double(int)> no_good{"no_good"};
const taskring::task<void(int)> print{"print"};
const taskring::task<int()> own_pid{"own_pid"};
const taskring::task<std::tuple<int, int>(int)> with_pid{"with_pid"};

void define_tasks() {
    taskring::define(take_tenth, [](int n) {
        std::printf("%d: begins\n", n);
        std::this_thread::sleep_for(n * 10ms);
        std::printf("%d: ends\n", n);
        return n / 10.0;
    });
    taskring::define(held, [](int n) {
        std::printf("%d: begins\n", n);
        until([] { return go.load(); });
        std::printf("%d: ends\n", n);
        return n / 10.0;
    });
    taskring::define(both, [](int n) {
        std::this_thread::sleep_for(n * 7 % 5 * 1ms);
        return std::tuple(n, n / 10.0);
    });
    taskring::define(no_good, [](int n) -> double {
        std::printf("%d: begins\n", n);
        throw std::invalid_argument("the value " + std::to_string(n) + " is no good");
    });
    taskring::define(print, [](int n) { std::printf("%d\n", n); });
    taskring::define(own_pid, [] { return static_cast<int>(getpid()); });
    taskring::define(with_pid, [](int n) { return std::tuple(n, static_cast<int>(getpid())); });
}

taskring::pool threads(std::uint32_t count) { return taskring::pool(make_config(TASKRING_THREAD, count)); }

const std::vector<int> down{5, 4, 3, 2, 1};

void map_over_threads() {
    auto pool = threads(2);
    std::printf("main: begins\n");
    auto results = pool.map(take_tenth, down);
    std::printf("main: goes on at once\n");
    std::string text;
    for (const double tenth : results)
        text += " " + std::to_string(tenth).substr(0, 3);
    std::printf("main: results%s\n", text.c_str());
}

void one_task() {
    auto pool = threads(2);
    auto future = pool.submit(held, 5);
    until_running(future);
    std::printf("main: the task is running\n");
    go = true;
    future.wait();
    const bool is_done = future.state() == taskring::state::done;
    std::printf("main: result %.1f\n", future.get());
    std::printf("main: the task is %s\n", is_done ? "done" : "not done");
}

void tasks_in_any_order() {
    auto pool = threads(5);
    std::printf("main: begins\n");
    std::vector<taskring::future<std::tuple<int, double>>> futures;
    for (const int n : down)
        futures.push_back(pool.submit(both, n));
    for (auto &ended : taskring::as_completed(futures)) {
        const auto [n, tenth] = ended.future.get();
        std::printf("main: result %d %.1f\n", n, tenth);
    }
}

void callback() {
    auto pool = threads(2);
    auto future = pool.submit(held, 5);
    future.on_done([&future](const auto &...) {
        std::printf("5: value %.1f\n", future.get());
        called++;
    });
    go = true;
    until([] { return called == 1; });
    std::printf("main: the task is over\n");
}

/// Ten held tasks, of which the first two run.
std::vector<taskring::future<double>> submit_ten(taskring::pool &pool) {
    std::vector<taskring::future<double>> futures;
    for (int n = 10; n >= 1; n--)
        futures.push_back(pool.submit(held, n));
    until_running(futures[0]);
    until_running(futures[1]);
    return futures;
}

void cancelling() {
    auto pool = threads(2);
    auto futures = submit_ten(pool);
    for (int n = 1; n <= 10; n++)
        std::printf("main: %d is %s\n", n, futures[10 - n].cancel() ? "cancelled" : "not cancelled");
    go = true;
    pool.shutdown(true, false);
    std::printf("main: ends\n");
}

void cancelling_with_callbacks() {
    auto pool = threads(2);
    auto futures = submit_ten(pool);
    for (int n = 1; n <= 10; n++) {
        auto &future = futures[10 - n];
        future.on_done([n, &future](const auto &...) {
            std::printf("%d: %s\n", n, future.state() == taskring::state::cancelled ? "cancelled" : "not cancelled");
            called++;
        });
        future.cancel();
    }
    until([] { return called == 8; });
    std::printf("main: 9 and 10 go on\n");
    go = true;
    until([] { return called == 10; });
}

void errors_in_tasks() {
    auto pool = threads(2);
    auto future = pool.submit(no_good, 5);
    try {
        if (const auto error = future.exception())
            std::rethrow_exception(error);
    } catch (const taskring::task_error &e) {
        std::printf("main: the error is \"%s\"\n", e.what());
    }
    try {
        std::printf("main: %.1f\n", future.get());
    } catch (const taskring::task_error &e) {
        std::printf("main: instead of a result: \"%s\"\n", e.what());
    }
}

void scope_waits() {
    {
        auto pool = threads(2);
        std::printf("main: begins\n");
        for (int n = 1; n <= 4; n++)
            pool.submit(print, n);
    }
    std::printf("main: ends\n");
}

void map_over_processes() {
    taskring::pool pool(make_config(TASKRING_SPAWN, 2));
    for (const auto &[n, pid] : pool.map(with_pid, down)) {
        CHECK(pid != getpid());
        std::printf("main: task %d ran in process %d\n", n, pid);
    }
}

/// Kills the worker that runs a first task.
int kill_a_worker(taskring::pool &pool) {
    const int pid = pool.submit(own_pid).get();
    std::printf("main: a worker is process %d\n", pid);
    CHECK(kill(pid, SIGKILL) == 0);
    // Until the pool has taken note of its end.
    until([pid] { return kill(pid, 0) != 0; });
    std::printf("main: it was killed\n");
    return pid;
}

void killed_worker_and_a_second_task() {
    taskring::pool pool(make_config(TASKRING_SPAWN, 2));
    const int first = kill_a_worker(pool);
    const int second = pool.submit(own_pid).get();
    CHECK(first != second);
    std::printf("main: the second task ran in process %d\n", second);
}

void killed_worker_breaks_the_pool() {
    auto config = make_config(TASKRING_SPAWN, 2);
    config.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    taskring::pool pool(config);
    const int killed = kill_a_worker(pool);
    try {
        // The other worker is there until the death of the first one is known, and may be quick enough for a task or more.
        for (;;)
            pool.submit(own_pid).get();
    } catch (const taskring::broken_process_pool &e) {
        CHECK(std::string(e.what()).find("process " + std::to_string(killed)) != std::string::npos);
        std::printf("main: no second task: %s\n", e.what());
    }
}

} // namespace

int main(int argc, char **argv) {
    define_tasks();
    taskring::init(argc, argv);
    return run_example(argc, argv,
                       {{"map_over_threads", map_over_threads},
                        {"one_task", one_task},
                        {"tasks_in_any_order", tasks_in_any_order},
                        {"callback", callback},
                        {"cancelling", cancelling},
                        {"cancelling_with_callbacks", cancelling_with_callbacks},
                        {"errors_in_tasks", errors_in_tasks},
                        {"scope_waits", scope_waits},
                        {"map_over_processes", map_over_processes},
                        {"killed_worker_and_a_second_task", killed_worker_and_a_second_task},
                        {"killed_worker_breaks_the_pool", killed_worker_breaks_the_pool}});
}
