// Row B10 of the contract in C++: what can be done about a task that runs.
#include "semantics_shared.hpp"

#include <atomic>

namespace {

void semantics_b10_a_running_task_is_killed_and_all_others_go_on(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    auto victim = busy(pool), other = busy(pool);
    auto pending = pool.submit(square, 7);
    if (in_threads(kind)) {
        CHECK(status_of([&] { victim.cancel_hard(); }) == TASKRING_UNSUPPORTED);
        CHECK(victim.is_running());
        victim.cancel();
        victim.get();
    } else {
        CHECK(victim.cancel_hard());
        thrown<taskring::cancelled_error>([&] { victim.result(); });
        CHECK(victim.is_cancelled() && victim.cancel_hard());
    }
    CHECK(pending.get() == 49 && other.is_running());
    other.cancel();
    other.get();
}

void semantics_b10_a_task_that_does_not_run_is_cancelled_hard_as_by_cancel(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto done = pool.submit(square, 3);
    while (!done.done())
        std::this_thread::sleep_for(1ms);
    auto running = busy(pool);
    auto pending = pool.submit(square, 4);
    CHECK(pending.cancel_hard() && !done.cancel_hard());
    thrown<taskring::cancelled_error>([&] { pending.get(); });
    CHECK(done.get() == 9 && running.is_running());
    running.cancel();
}

void semantics_b10_a_task_has_time_limits_of_its_own(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    pool.submit(taskring::options().soft_limit(50ms), until_asked).get();
    if (in_threads(kind)) {
        CHECK(status_of([&] { pool.submit(taskring::options().hard_limit(50ms), square, 3); }) == TASKRING_UNSUPPORTED);
    } else {
        auto limited = pool.submit(taskring::options().hard_limit(50ms), until_asked);
        CHECK(thrown<taskring::time_limit_error>([&] { limited.get(); }).find("longer than 50ms") != std::string::npos);
    }
    thrown<taskring::invalid_argument_error>([&] { pool.submit(taskring::options().soft_limit(9ms).hard_limit(9ms), square, 3); });
    CHECK(pool.submit(square, 6).get() == 36);
}

const taskring::task<void()> never_ends{"never_ends"};

void semantics_b10_a_pool_has_time_limits_for_its_tasks(std::uint32_t kind) {
    auto chosen = make_config(kind, 1);
    chosen.task_soft_limit(30ms);
    if (!in_threads(kind))
        chosen.task_hard_limit(900ms);
    taskring::pool pool(chosen);
    pool.submit(until_asked).get();
    if (!in_threads(kind)) {
        auto limited = pool.submit(never_ends);
        CHECK(thrown<taskring::time_limit_error>([&] { limited.get(); }).find("longer than 900ms") != std::string::npos);
    }
    CHECK(pool.submit(square, 6).get() == 36);
}

const taskring::task<void()> tells{"tells"};

void semantics_b10_a_running_task_tells_how_far_it_has_come(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto silent = busy(pool);
    CHECK(!silent.progress() && !silent.reported<std::string>());
    silent.cancel();
    auto task = pool.submit(tells);
    while (!task.progress() || task.progress()->done != 2)
        std::this_thread::sleep_for(1ms);
    CHECK(task.progress()->total == 3 && task.reported<std::string>() == "one");
    if (in_threads(kind))
        task.cancel();
    else
        CHECK(task.cancel_hard());
    task.wait();
    CHECK(task.progress()->done == 2);
    CHECK(status_of([] { taskring::report(3); }) == TASKRING_UNSUPPORTED);
}

/// Fails in so many attempts: with a code, if it is given one. Gives the number of the attempt in which it did not.
const taskring::task<std::uint32_t(std::uint32_t, std::int32_t)> fails_first{"fails_first"};

void semantics_b10_a_failed_task_is_run_again_as_its_options_say(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const auto with = [](const taskring::retry &how) { return taskring::options().retry(how); };
    thrown<taskring::task_error>([&] { pool.submit(fails_first, 1u, 0).get(); });
    CHECK(pool.submit(with(taskring::retry(3)), fails_first, 2u, 0).get() == 2);
    auto last = pool.submit(with(taskring::retry(3)), fails_first, 3u, 0);
    CHECK(thrown<taskring::task_error>([&] { last.get(); }).find("attempt 2 fails") != std::string::npos);
    const auto codes = taskring::retry(3).on_codes({4, 31});
    CHECK(pool.submit(with(codes), fails_first, 2u, 4).get() == 2 && pool.submit(with(codes), fails_first, 2u, 31).get() == 2);
    for (const int other : {0, 5, 1000})
        thrown<taskring::task_error>([&] { pool.submit(with(codes), fails_first, 1u, other).get(); });
    CHECK(pool.submit(with(taskring::retry(2).on_codes({1})), fails_first, 1u, 0).get() == 1);
    thrown<taskring::task_error>([&] { pool.submit(with(taskring::retry(2).on_panics()), fails_first, 1u, 0).get(); });
    thrown<taskring::invalid_argument_error>([&] { pool.submit(with(taskring::retry(0).on_errors()), fails_first, 1u, 0); });
    thrown<taskring::invalid_argument_error>([&] { pool.submit(with(taskring::retry(2).on_codes({32})), fails_first, 1u, 0); });
}

void semantics_b10_an_attempt_waits_for_its_pause_and_can_be_cancelled(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const auto start = std::chrono::steady_clock::now();
    CHECK(pool.submit(taskring::options().retry(taskring::retry(2).backoff(150ms, 1s)), fails_first, 1u, 0).get() == 1);
    CHECK(std::chrono::steady_clock::now() - start >= 150ms);
    CHECK(taskring::retry(2).backoff(0ms, 1h).get().backoff_ns == 0);
    auto waits = pool.submit(taskring::options().retry(taskring::retry(2).backoff(1h, 2h)), fails_first, 1u, 0);
    // Behind it: it has failed when this is over.
    CHECK(pool.submit(square, 3).get() == 9);
    CHECK(waits.state() == taskring::state::pending && waits.cancel());
    thrown<taskring::cancelled_error>([&] { waits.get(); });
}

void semantics_b10_a_pool_has_a_rule_for_its_tasks_that_fail(std::uint32_t kind) {
    auto chosen = make_config(kind, 1);
    chosen.retry_tasks(taskring::retry(2));
    taskring::pool pool(chosen);
    CHECK(pool.submit(fails_first, 1u, 0).get() == 1);
    thrown<taskring::task_error>([&] { pool.submit(taskring::options().retry(taskring::retry::never()), fails_first, 1u, 0).get(); });
}

void semantics_b10_a_closure_is_called_once_whatever_a_rule_says(std::uint32_t) {
    taskring::config ruled;
    ruled.workers = 1;
    taskring::thread_pool plain_pool(ruled);
    ruled.retry_tasks(taskring::retry(3));
    taskring::thread_pool pool(ruled), made = taskring::thread_pool::try_make(ruled).value();
    std::atomic<int> calls{0};
    const auto fails = [&] {
        calls++;
        throw std::runtime_error("at once");
    };
    auto plain = pool.submit(fails), asked = pool.submit(taskring::options().retry(taskring::retry(5)), fails);
    auto without = plain_pool.submit(taskring::options().retry(taskring::retry(5)), fails), other = made.submit(fails);
    for (auto *future : {&plain, &asked, &without, &other})
        CHECK(thrown<taskring::task_error>([&] { future->get(); }).find("at once") != std::string::npos);
    CHECK(calls == 4 && pool.submit(fails_first, 1u, 0).get() == 1);
}

const semantics_case cases[] = {
    CASE(semantics_b10_a_running_task_is_killed_and_all_others_go_on),
    CASE(semantics_b10_a_task_that_does_not_run_is_cancelled_hard_as_by_cancel),
    CASE(semantics_b10_a_task_has_time_limits_of_its_own),
    CASE(semantics_b10_a_pool_has_time_limits_for_its_tasks),
    CASE(semantics_b10_a_running_task_tells_how_far_it_has_come),
    CASE(semantics_b10_a_failed_task_is_run_again_as_its_options_say),
    CASE(semantics_b10_an_attempt_waits_for_its_pause_and_can_be_cancelled),
    CASE(semantics_b10_a_pool_has_a_rule_for_its_tasks_that_fail),
    CASE(semantics_b10_a_closure_is_called_once_whatever_a_rule_says),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(fails_first, [](std::uint32_t times, std::int32_t code) {
        const std::uint32_t attempt = taskring_attempt();
        const std::string text = "attempt " + std::to_string(attempt) + " fails";
        if (attempt < times && code != 0)
            throw taskring::coded_error(code, text);
        if (attempt < times)
            throw std::runtime_error(text);
        return attempt;
    });
    taskring::define(never_ends, [] {
        for (;;)
            std::this_thread::sleep_for(1h);
    });
    taskring::define(tells, [] {
        taskring::report_progress(1, 3);
        taskring::report(std::string("one"));
        taskring::report_progress(2, 3);
        wait_until_asked();
    });
    return run_cases(argc, argv, cases);
}
