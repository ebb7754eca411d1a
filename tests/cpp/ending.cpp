// Ends of pools by the wrapper: of their workers, at a time limit, by a worker's death.
#include "check.hpp"

#include <csignal>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
/// Says that it was entered: a task whose worker dies before that is not lost.
const taskring::task<int()> until_asked{"until_asked"};

struct busy {
    taskring::pool pool;
    std::vector<taskring::future<int>> running;
    std::vector<taskring::future<std::uint64_t>> pending;

    explicit busy(const taskring::config &chosen) : pool(chosen) {
        for (std::uint32_t i = 0; i < chosen.workers; i++)
            running.push_back(pool.submit(until_asked));
        for (auto &future : running)
            until([&] { return future.progress().has_value(); });
        for (std::uint64_t x = 0; x < 10; x++)
            pending.push_back(pool.submit(square, x));
    }
    void ask_to_stop() {
        for (auto &future : running) {
            CHECK(!future.cancel());
            CHECK(future.get() == 1);
        }
    }
    template <class F> void all_lost(int signal, F &futures) {
        for (auto &future : futures) {
            try {
                future.get();
                CHECK(!"it is lost");
            } catch (const taskring::worker_lost &lost) {
                CHECK(lost.loss().signal == signal);
            }
        }
    }
    void all_cancelled() {
        for (auto &future : pending)
            thrown<taskring::cancelled_error>([&] { future.get(); });
    }
};

void workers_end(std::uint32_t method) {
    for (int signal : {SIGTERM, SIGKILL}) {
        busy all(make_config(method, 2));
        const auto end = [&] { signal == SIGTERM ? all.pool.terminate_workers() : all.pool.kill_workers(); };
        if (method == TASKRING_THREAD) {
            CHECK(status_of(end) == TASKRING_UNSUPPORTED);
            all.ask_to_stop();
            CHECK(all.pool.submit(square, 3).get() == 9);
            continue;
        }
        end();
        all.all_cancelled();
        all.all_lost(signal, all.running);
        CHECK(status_of([&] { all.pool.submit(square, 1); }) == TASKRING_SHUT_DOWN);
        all.pool.shutdown(true, false);
        end();
    }
}

void time_limit(std::uint32_t method) {
    busy all(make_config(method, 2));
    if (method == TASKRING_THREAD) {
        thrown<taskring::timeout_error>([&] { all.pool.shutdown_within(1ms); });
        all.all_cancelled();
        all.ask_to_stop();
    } else {
        const taskring::ending found = all.pool.shutdown_within(1ms);
        CHECK(found.cancelled == 10 && found.killed == 2);
        all.all_cancelled();
        all.all_lost(SIGKILL, all.running);
    }
    const taskring::ending again = all.pool.shutdown_within(LIMIT);
    CHECK(again.cancelled == 0 && again.killed == 0);
}

void a_death_breaks(std::uint32_t method) {
    taskring::config chosen = make_config(method, 1);
    chosen.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    busy all(chosen);
    std::uint32_t pid = 0;
    CHECK(taskring_worker_pid(all.pool.get(), all.running[0].ticket(), &pid) == TASKRING_OK);
    CHECK(kill(static_cast<pid_t>(pid), SIGKILL) == 0);
    for (auto &future : all.pending) {
        const std::string text = thrown<taskring::error>([&] { future.get(); });
        CHECK(text.find("process " + std::to_string(pid) + ": signal 9 killed it") != std::string::npos);
    }
    all.all_lost(SIGKILL, all.running);
    all.pool.shutdown(true, false);
    CHECK(status_of([&] { all.pool.submit(square, 1); }) == TASKRING_BROKEN);
}

} // namespace

int main(int argc, char **argv) {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(until_asked, [] {
        taskring::report_progress(1, 1);
        for (int i = 0; i < 20000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
        return taskring::cancel_requested() ? 1 : 0;
    });
    taskring::init(argc, argv);
    for (std::uint32_t method : {TASKRING_SPAWN, TASKRING_FORKSERVER, TASKRING_THREAD}) {
        workers_end(method);
        time_limit(method);
    }
    a_death_breaks(TASKRING_SPAWN);
    a_death_breaks(TASKRING_FORKSERVER);
    return 0;
}
