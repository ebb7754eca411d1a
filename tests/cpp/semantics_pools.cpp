// Section P of the contract in C++: making pools, deaths of workers, ends of pools; and the classes of errors.
#include "semantics_shared.hpp"

#include <atomic>
#include <optional>
#include <sched.h>

namespace {

/// So many bytes, whose writer does not come to the end.
struct unfinished {
    number len;
    bool dies;
};

} // namespace

template <> struct taskring::codec<unfinished> {
    static void encode(const unfinished &value, std::string &to) {
        to.append(value.len / 2, 'x');
        if (value.dies)
            std::raise(SIGKILL);
        throw std::runtime_error("half of it is written");
    }
    static unfinished decode(taskring::reader &from) { return {from.left(), false}; }
};

namespace {

/// How a task's worker was lost.
template <class R> taskring_loss loss_of(taskring::future<R> task) {
    try {
        task.get_for(LIMIT);
    } catch (const taskring::worker_lost &e) {
        return e.loss();
    }
    CHECK(!"a lost worker");
    return {};
}

void semantics_p2_too_many_workers_are_refused_and_the_default_is_the_cpus(std::uint32_t kind) {
    const auto said = thrown<taskring::invalid_argument_error>([&] { make_pool(kind, 193); });
    CHECK(said.find("workers is 193; wanted ") == 0);
    // One CPU of those that this process may use, before there is a pool.
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    auto pool = make_pool(kind, 0);
    CHECK(pool.submit(square, 6).get() == 36);
    // Of threads 4 more.
    const auto wanted = in_threads(kind) ? 5u : 1u;
    until([&] { return pool.stats().workers == wanted; });
    std::this_thread::sleep_for(20ms);
    CHECK(pool.stats().workers == wanted);
}

void semantics_p10_each_task_has_an_error_of_its_own(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    auto first = pool.submit(complain, "first"), second = pool.submit(complain, "second");
    CHECK(thrown<taskring::task_error>([&] { second.get(); }) == "second");
    CHECK(thrown<taskring::task_error>([&] { first.get(); }) == "first");
    if (!in_threads(kind)) {
        const auto one = loss_of(pool.submit(die)), other = loss_of(pool.submit(die));
        CHECK(one.signal == SIGKILL && other.signal == SIGKILL && one.pid != other.pid);
    }
}

void semantics_p15_a_crash_or_an_exit_costs_that_task_and_an_error_is_the_tasks_own(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    CHECK(thrown<taskring::task_error>([&] { pool.submit(complain, "alas").get(); }) == "alas");
    if (!in_threads(kind)) {
        auto crashed = pool.submit(crash), exited = pool.submit(exit_with_3);
        auto pending = pool.submit(square, 9);
        const auto by_signal = loss_of(std::move(crashed)), by_exit = loss_of(std::move(exited));
        CHECK(by_signal.pid != 0 && by_signal.signal == SIGSEGV && by_signal.exit_code == -1 && by_signal.may_have_run == 1);
        CHECK(by_exit.signal == 0 && by_exit.exit_code == 3);
        CHECK(pending.get_for(LIMIT) == 81);
    }
    CHECK(pool.submit(square, 6).get() == 36);
}

const taskring::task<std::uint32_t(std::string)> worker_number{"worker_number"};

void semantics_order_a_task_for_a_worker_runs_there_and_a_broadcast_everywhere(std::uint32_t kind) {
    auto pool = make_pool(kind, 3);
    for (std::uint32_t i = 0; i < 30; i++)
        CHECK(pool.submit_to(i % 3, worker_number, "who").get_for(LIMIT) == i % 3);
    auto task = pool.submit_to(1, until_asked);
    until_running(task);
    auto waiting = pool.submit_to(1, taskring::options().idempotent(true), worker_number, "later");
    for (number x = 0; x < 100; x += 2)
        CHECK(pool.submit(square, x).get() == x * x);
    auto all = pool.broadcast(worker_number, std::string(1000, 'x'));
    CHECK(all.size() == 3 && all[0].get_for(LIMIT) == 0u && all[2].get_for(LIMIT) == 2u);
    CHECK(waiting.state() == taskring::state::pending && all[1].state() == taskring::state::pending);
    task.cancel();
    CHECK(waiting.get_for(LIMIT) == 1u && all[1].get_for(LIMIT) == 1u);
    const auto said = thrown<taskring::invalid_argument_error>([&] { pool.submit_to(3, worker_number, "nobody"); });
    CHECK(said == "worker is 3; wanted a worker's number, below 3");
    auto set = pool.new_set();
    set.discard();
    CHECK(status_of([&] { pool.broadcast(taskring::options(set), worker_number, "nobody"); }) == TASKRING_DISCARDED);
}

const taskring::task<number()> none_told{"none_told"}, waits_for_worker_0{"waits_for_worker_0"}, waits_for_worker_1{"waits_for_worker_1"};

/// Waits for a task for a worker, which returns how many were told that their wait would never end; one more when this one is told so.
number wait_for_worker(std::uint32_t worker, taskring::task<number()> which) {
    auto pool = taskring::pool::current();
    auto future = pool.submit_to(worker, which);
    try {
        return future.get();
    } catch (const taskring::would_deadlock_error &) {
        CHECK(future.valid());
        return 1;
    }
}

void semantics_b4_of_two_workers_that_wait_for_each_other_one_is_told(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    for (int i = 0; i < 3; i++)
        CHECK(pool.submit_to(0, waits_for_worker_1).get_for(LIMIT) == 1);
    // Without a circle nobody is told.
    CHECK(pool.submit_to(1, waits_for_worker_0).get_for(LIMIT) == 0);
}

const taskring::task<unfinished(std::string, bool)> give_up_half_way{"give_up_half_way"};

void semantics_p18_a_result_that_is_half_written_when_its_worker_dies_is_a_lost_one(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    // More than goes into a pipe.
    const std::string large(1 << 17, 'x');
    for (int i = 0; i < 2; i++) {
        auto task = pool.submit(give_up_half_way, large, !in_threads(kind));
        if (in_threads(kind)) {
            CHECK(thrown<taskring::task_error>([&] { task.get_for(LIMIT); }) == "half of it is written");
        } else {
            const auto loss = loss_of(std::move(task));
            CHECK(loss.signal == SIGKILL && loss.may_have_run == 1);
        }
        CHECK(pool.submit(square, 6).get_for(LIMIT) == 36);
    }
}

void semantics_p20_floods_of_submits_from_several_threads_come_to_an_end(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 8);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&pool] {
            std::vector<taskring::future<number>> all;
            for (number x = 0; x < 100; x++)
                all.push_back(pool.submit(square, 2 * x));
            for (number x = 0; x < 100; x++)
                CHECK(all[x].get() == 4 * x * x);
        });
    for (auto &thread : threads)
        thread.join();
}

void semantics_p25_a_shutdown_waits_for_what_runs_and_what_waits(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    std::vector<taskring::future<void>> all;
    for (int i = 0; i < 50; i++)
        all.push_back(pool.submit(nap, 2));
    pool.shutdown(true, false);
    for (auto &one : all)
        one.get_for(0ms);
    thrown<taskring::shut_down_error>([&] { pool.submit(nap, 2); });
}

void semantics_p26_a_shutdown_that_cancels_lets_what_runs_end_and_ends_all_the_rest(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    std::vector<taskring::future<number>> pending;
    for (number x = 0; x < 30; x++)
        pending.push_back(pool.submit(square, x));
    pool.shutdown(false, true);
    for (auto &one : pending)
        thrown<taskring::cancelled_error>([&] { one.get_for(0ms); });
    CHECK(running.is_running() && !running.cancel());
    pool.shutdown(true, true);
    running.get_for(0ms);
}

void semantics_p30_the_end_of_a_scope_waits_for_everything_and_lets_exceptions_out(std::uint32_t kind) {
    std::atomic<int> ended{0};
    CHECK(thrown<std::logic_error>([&] {
              auto pool = make_pool(kind, 1);
              for (int i = 0; i < 5; i++)
                  pool.submit(nap, 5).on_done([&ended](const auto &) { ended++; });
              throw std::logic_error("out of the scope");
          }) == "out of the scope");
    CHECK(ended == 5);
}

void semantics_p30_a_shutdown_may_be_asked_for_again_and_otherwise(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto last = pool.submit(nap, 20);
    pool.shutdown(false, false);
    pool.shutdown(false, false);
    pool.shutdown(true, false);
    CHECK(last.state() == taskring::state::done);
    pool.shutdown(true, true);
    pool.shutdown(false, true);
    last.get_for(0ms);
}

void semantics_p31_a_task_cancelled_just_before_does_not_hang_the_shutdown(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto pending = pool.submit(square, 3);
    CHECK(pending.cancel());
    running.cancel();
    pool.shutdown(true, false);
    thrown<taskring::cancelled_error>([&] { pending.get_for(0ms); });
}

void semantics_p34_only_what_a_worker_has_started_runs_and_all_else_can_be_cancelled(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    std::vector<taskring::future<void>> all;
    all.push_back(busy(pool));
    for (int i = 1; i < 5; i++)
        all.push_back(pool.submit(until_asked));
    for (std::size_t i = 0; i < 5; i++)
        CHECK(all[i].is_running() == (i == 0));
    for (std::size_t i = 0; i < 5; i++)
        CHECK(all[i].cancel() == (i != 0));
}

const taskring::context<int()> no_context{"no context"};

/// Code that does not know what kind of pool it has.
number work_in(taskring::pool &pool) {
    std::vector<taskring::future<number>> all;
    for (number x = 0; x < 5; x++)
        all.push_back(pool.submit(square, x));
    number sum = 0;
    for (auto &one : taskring::as_completed(all, LIMIT))
        sum += one.future.get();
    for (const number one : pool.map(square, numbers{1, 2, 3}))
        sum += 100 * one;
    thrown<taskring::task_error>([&] { pool.submit(complain, "alas").get(); });
    return sum;
}

void semantics_s8_a_function_that_takes_a_pool_takes_one_of_any_kind(std::uint32_t kind) {
    const auto name = "cpp-any-" + std::to_string(getpid());
    auto own = taskring::pool::create_named(name, make_config(kind, 2));
    auto guest = taskring::pool::attach(name);
    taskring::thread_pool threads(make_config(TASKRING_THREAD, 1));
    taskring::interpreter_pool<int> interpreters(no_context, make_config(TASKRING_INTERPRETER, 1));
    for (taskring::pool *pool : {&own, &guest, static_cast<taskring::pool *>(&threads), static_cast<taskring::pool *>(&interpreters)})
        CHECK(work_in(*pool) == 30 + 1400);
}

void semantics_s12_what_can_go_wrong_has_classes_of_its_own(std::uint32_t kind) {
    auto chosen = make_config(kind, 1);
    chosen.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    taskring::pool pool(chosen);
    auto running = busy(pool);
    auto pending = pool.submit(square, 3), cancelled = pool.submit(square, 3);
    cancelled.cancel();
    thrown<taskring::timeout_error>([&] { pending.result_for(0ms); });
    thrown<taskring::cancelled_error>([&] { cancelled.result(); });
    thrown<taskring::invalid_argument_error>([&] { taskring::completions().add(taskring::future<number>(pool.get(), 7)); });
    auto gone = pool.submit(square, 3);
    CHECK(taskring_release(pool.get(), gone.ticket()) == TASKRING_OK);
    thrown<taskring::invalid_state_error>([&] { gone.result(); });
    running.cancel();
    CHECK(pending.get() == 9);
    thrown<taskring::task_error>([&] { pool.submit(complain, "alas").get(); });
    if (in_threads(kind)) {
        pool.shutdown(false, false);
        thrown<taskring::shut_down_error>([&] { pool.submit(square, 3); });
        return;
    }
    // All of them are what was caught before there were classes.
    auto last = busy(pool);
    auto lost = pool.submit(die);
    auto never = pool.submit(square, 3);
    last.cancel();
    thrown<taskring::worker_lost>([&] { lost.get(); });
    CHECK(status_of([&] { never.result(); }) == TASKRING_BROKEN);
    thrown<taskring::broken_executor>([&] { never.get(); });
    thrown<taskring::broken_executor>([&] { pool.submit(square, 3); });
}

std::optional<taskring::pool> at_end;
taskring::future<number> last;

/// What exit calls before it waits for the pool: it takes tasks still, and they are waited for.
void submit_before_the_wait() { last = at_end->submit(square, 3); }

/// What exit calls after that.
void submit_after_the_wait() {
    CHECK(last.done() && last.get() == 9);
    thrown<taskring::shut_down_error>([] { at_end->submit(square, 3); });
    const numbers inputs{1, 2};
    thrown<taskring::shut_down_error>([&] { at_end->map(square, inputs); });
    _exit(9);
}

void semantics_p24_at_the_end_of_the_program_a_submit_is_taken_or_refused(std::uint32_t kind) {
    if (std::getenv("TASKRING_TEST_P24") == nullptr) {
        CHECK(setenv("TASKRING_TEST_P24", "1", 1) == 0);
        CHECK(semantics_code(kind, __func__) == 9);
        return;
    }
    // Who is added last is called first; the library's own wait is added with the first pool.
    CHECK(std::atexit(submit_after_the_wait) == 0);
    at_end.emplace(make_config(kind, 2));
    CHECK(std::atexit(submit_before_the_wait) == 0);
}

const semantics_case cases[] = {
    CASE(semantics_p2_too_many_workers_are_refused_and_the_default_is_the_cpus),
    CASE(semantics_p10_each_task_has_an_error_of_its_own),
    CASE(semantics_p15_a_crash_or_an_exit_costs_that_task_and_an_error_is_the_tasks_own),
    CASE(semantics_order_a_task_for_a_worker_runs_there_and_a_broadcast_everywhere),
    CASE(semantics_b4_of_two_workers_that_wait_for_each_other_one_is_told),
    CASE(semantics_p18_a_result_that_is_half_written_when_its_worker_dies_is_a_lost_one),
    CASE(semantics_p20_floods_of_submits_from_several_threads_come_to_an_end),
    CASE(semantics_p24_at_the_end_of_the_program_a_submit_is_taken_or_refused),
    CASE(semantics_p25_a_shutdown_waits_for_what_runs_and_what_waits),
    CASE(semantics_p26_a_shutdown_that_cancels_lets_what_runs_end_and_ends_all_the_rest),
    CASE(semantics_p30_the_end_of_a_scope_waits_for_everything_and_lets_exceptions_out),
    CASE(semantics_p30_a_shutdown_may_be_asked_for_again_and_otherwise),
    CASE(semantics_p31_a_task_cancelled_just_before_does_not_hang_the_shutdown),
    CASE(semantics_p34_only_what_a_worker_has_started_runs_and_all_else_can_be_cancelled),
    CASE(semantics_s8_a_function_that_takes_a_pool_takes_one_of_any_kind),
    CASE(semantics_s12_what_can_go_wrong_has_classes_of_its_own),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(worker_number, [](std::string) { return taskring::worker_number().value(); });
    taskring::define(none_told, [] { return number{0}; });
    taskring::define(waits_for_worker_0, [] { return wait_for_worker(0, none_told); });
    taskring::define(waits_for_worker_1, [] { return wait_for_worker(1, waits_for_worker_0); });
    taskring::define(give_up_half_way, [](std::string large, bool dies) { return unfinished{large.size(), dies}; });
    taskring::define(no_context, [] { return 7; });
    return run_cases(argc, argv, cases);
}
