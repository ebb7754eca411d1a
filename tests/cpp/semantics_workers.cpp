// The life of workers in C++: how many tasks each of them runs, how many of them there are, and when they pause.
#include "semantics_shared.hpp"

#include <atomic>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

/// The thread that runs it, and its worker's number.
const taskring::task<std::pair<number, std::uint32_t>()> who{"who"};

/// Takes its worker with it: the process, or, in that of the argument, the thread alone.
const taskring::task<void(std::int32_t)> die_alone{"die_alone"};

/// Waits without a limit for one that somebody else has begun with, and says that it does.
const taskring::task<void(std::uint32_t)> wait_for_another{"wait_for_another"};

taskring::pool limited(std::uint32_t kind, std::uint32_t workers, std::uint32_t tasks) {
    return taskring::pool(taskring::setup().max_tasks_per_worker(tasks).apply(make_config(kind, workers)));
}

void semantics_p4_a_number_of_tasks_below_1_is_refused(std::uint32_t kind) {
    CHECK(thrown<taskring::invalid_argument_error>([&] { limited(kind, 1, 0); }) == "max_tasks_per_worker is 0; wanted 1 to 4294967295");
    CHECK(limited(kind, 1, 4294967295).submit(square, 4).get() == 16);
}

void semantics_p5_a_worker_runs_its_tasks_and_another_one_comes_with_its_number(std::uint32_t kind) {
    auto pool = limited(kind, 1, 4);
    number before = 0;
    for (int round = 0; round < 4; round++) {
        std::pair<number, std::uint32_t> first;
        until([&] { return first = pool.submit(who).get(), first.first != before; });
        CHECK(first.second == 0);
        // That was the first of its four.
        for (int i = 1; i < 4; i++)
            CHECK(pool.submit(who).get() == first);
        before = first.first;
    }
}

void semantics_p6_the_end_of_a_scope_strands_no_task_while_workers_are_replaced(std::uint32_t kind) {
    std::vector<taskring::future<number>> all;
    {
        auto pool = limited(kind, 2, 1);
        for (number x = 0; x < 60; x += 2)
            all.push_back(pool.submit(square, x));
        for (std::size_t i = 0; i < all.size(); i++)
            CHECK(all[i].get_for(LIMIT) == 4 * i * i);
        all.clear();
        for (number x = 0; x < 30; x++)
            pool.submit(nap, 1);
    }
}

void semantics_p2_a_new_number_of_workers_out_of_range_is_refused(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    for (std::uint32_t workers : {0u, 193u})
        CHECK(thrown<taskring::invalid_argument_error>([&] { pool.resize(workers); }).find("wanted 1 to 192") != std::string::npos);
    pool.shutdown(true, false);
    thrown<taskring::shut_down_error>([&] { pool.resize(2); });
    thrown<taskring::shut_down_error>([&] { pool.pause(); });
}

void semantics_l1_a_pool_grows_at_once_and_shrinks_task_by_task(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    pool.resize(3);
    std::vector<taskring::future<void>> held;
    for (int i = 0; i < 3; i++)
        held.push_back(busy(pool));
    until([&] { return pool.stats().workers == 3; });
    std::vector<taskring::future<number>> pending;
    for (number x = 0; x < 40; x += 2)
        pending.push_back(pool.submit(square, x));
    pool.resize(1);
    for (auto &one : held)
        CHECK(one.is_running() && !one.cancel());
    for (std::size_t i = 0; i < pending.size(); i++)
        CHECK(pending[i].get_for(LIMIT) == 4 * i * i);
    until([&] { return pool.stats().workers == 1; });
    CHECK(pool.submit(who).get().second == 0);
}

void semantics_p8_workers_come_when_tasks_wait_and_idle_ones_are_used_first(std::uint32_t kind) {
    taskring::pool pool(taskring::setup().min_workers(0).apply(make_config(kind, 2)));
    CHECK(pool.stats().workers == 0);
    for (number x = 0; x < 3; x++) {
        CHECK(pool.submit(square, 2 * x).get() == 4 * x * x);
        std::this_thread::sleep_for(20ms);
    }
    CHECK(pool.stats().workers == 1);
    auto one = busy(pool), two = busy(pool);
    CHECK(pool.stats().workers == 2 && !one.cancel() && !two.cancel());
}

void semantics_t2_who_is_idle_for_long_leaves(std::uint32_t kind) {
    taskring::pool pool(taskring::setup().min_workers(1).idle_timeout(20ms).apply(make_config(kind, 3)));
    {
        auto one = busy(pool), two = busy(pool), three = busy(pool);
        CHECK(!one.cancel() && !two.cancel() && !three.cancel());
    }
    until([&] { return pool.stats().workers == 1; });
    CHECK(pool.submit(who).get().second == 0);
    taskring::setup chosen;
    CHECK(thrown<taskring::invalid_argument_error>([&] { chosen.idle_timeout(0ms); }).find("idle_timeout") == 0);
    chosen.idle_timeout(20ms);
    thrown<taskring::invalid_argument_error>([&] { taskring::pool(chosen.apply(make_config(kind, 3))); });
    chosen.min_workers(4);
    thrown<taskring::invalid_argument_error>([&] { taskring::pool(chosen.apply(make_config(kind, 3))); });
}

void semantics_t2_a_task_that_comes_while_the_last_one_leaves_runs(std::uint32_t kind) {
    taskring::pool pool(taskring::setup().min_workers(0).idle_timeout(1ms).apply(make_config(kind, 1)));
    for (number x = 0; x < 60; x++) {
        CHECK(pool.submit(square, 2 * x).get_for(LIMIT) == 4 * x * x);
        std::this_thread::sleep_for(std::chrono::microseconds(x % 4 * 800));
    }
    until([&] { return pool.stats().workers == 0; });
}

void semantics_b4_another_one_comes_for_one_that_waits(std::uint32_t kind) {
    taskring::setup chosen;
    chosen.replacements(1);
    thrown<taskring::invalid_argument_error>([&] { taskring::pool(chosen.apply(make_config(kind, 192))); });
    taskring::pool pool(chosen.apply(make_config(kind, 2)));
    auto waiting = pool.submit(wait_for_another, 3000u);
    until([&] { return waiting.progress().has_value(); });
    CHECK(pool.submit(who).get().second == 2 && waiting.is_running());
    waiting.get();
    until([&] { return pool.stats().workers == 2; });
}

void semantics_p34_a_pool_that_is_paused_starts_nothing_and_its_end_runs_the_rest(std::uint32_t kind) {
    std::atomic<int> ended{0};
    {
        auto pool = make_pool(kind, 2);
        pool.pause();
        auto first = pool.submit(square, 4);
        CHECK(first.try_get_for(200ms).status() == TASKRING_TIMED_OUT);
        CHECK(pool.is_paused() && first.state() == taskring::state::pending);
        pool.resume();
        CHECK(!pool.is_paused() && first.get_for(LIMIT) == 16);
        pool.pause();
        for (int i = 0; i < 5; i++)
            pool.submit(nap, 1).on_done([&ended](const auto &) { ended++; });
    }
    CHECK(ended == 5);
}

void semantics_b1_cancelling_all_is_heard_of_at_once(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    std::vector<taskring::future<number>> pending;
    for (number x = 0; x < 10; x++)
        pending.push_back(pool.submit(square, x));
    CHECK(pool.purge() == 10 && pool.purge() == 0);
    for (auto &one : pending)
        thrown<taskring::cancelled_error>([&] { one.get_for(0ms); });
    CHECK(running.is_running() && !running.cancel());
    CHECK(pool.submit(square, 6).get() == 36);
}

void semantics_s10_an_error_names_the_worker_that_died_and_its_process(std::uint32_t kind) {
    // As long as it may be: ps shows 15 bytes of the name, the error all of it.
    const std::string prefix(192, 'p');
    taskring::pool pool(taskring::setup().names(prefix).apply(make_config(kind, 1)));
    // The second one is another worker's, with the same number.
    for (int i = 0; i < 2; i++) {
        try {
            pool.submit(die_alone, getpid()).get();
            CHECK(!"it dies");
        } catch (const taskring::worker_lost &lost) {
            CHECK(lost.name() == prefix + "_0" && (static_cast<pid_t>(lost.loss().pid) == getpid()) == (in_threads(kind) != 0));
            const std::string wanted = "worker " + lost.name() + " (process " + std::to_string(lost.loss().pid) + ") died while it ran this task: ";
            CHECK(std::string(lost.what()).compare(0, wanted.size(), wanted) == 0);
        }
    }
    const auto told = pool.submit(die_alone, getpid()).try_get();
    CHECK(told.status() == TASKRING_WORKER_LOST && told.message().find(prefix + "_0 (process ") != std::string::npos);
}

const semantics_case cases[] = {
    CASE(semantics_p4_a_number_of_tasks_below_1_is_refused),
    CASE(semantics_p5_a_worker_runs_its_tasks_and_another_one_comes_with_its_number),
    CASE(semantics_p6_the_end_of_a_scope_strands_no_task_while_workers_are_replaced),
    CASE(semantics_p2_a_new_number_of_workers_out_of_range_is_refused),
    CASE(semantics_l1_a_pool_grows_at_once_and_shrinks_task_by_task),
    CASE(semantics_p8_workers_come_when_tasks_wait_and_idle_ones_are_used_first),
    CASE(semantics_t2_who_is_idle_for_long_leaves),
    CASE(semantics_t2_a_task_that_comes_while_the_last_one_leaves_runs),
    CASE(semantics_b4_another_one_comes_for_one_that_waits),
    CASE(semantics_p34_a_pool_that_is_paused_starts_nothing_and_its_end_runs_the_rest),
    CASE(semantics_b1_cancelling_all_is_heard_of_at_once),
    CASE(semantics_s10_an_error_names_the_worker_that_died_and_its_process),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(die_alone, [](std::int32_t owner) {
        if (getpid() != owner)
            std::raise(SIGKILL);
        syscall(SYS_exit, 0);
    });
    taskring::define(who, [] { return std::pair<number, std::uint32_t>(gettid(), taskring::worker_number().value()); });
    taskring::define(wait_for_another, [](std::uint32_t ms) {
        auto pool = taskring::pool::current();
        auto other = pool.submit(nap, ms);
        until_running(other);
        taskring::report_progress(1, 1);
        other.get();
    });
    return run_cases(argc, argv, cases);
}
