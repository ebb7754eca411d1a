// Rows B4 and P36 of the contract in C++: tasks that submit to their own pool and wait for what they submitted.
#include "semantics_shared.hpp"

#include <atomic>

namespace {

const taskring::task<number(number)> fibonacci{"fibonacci"}, depth{"depth"}, wait_for_next{"wait_for_next"};
const taskring::task<number()> says_where{"says_where"}, every_wait{"every_wait"};

/// Waits in every way for tasks that nobody but its own worker could run.
number waits_in_every_way() {
    auto pool = taskring::pool::current();
    const auto submit = [&] {
        std::vector<taskring::future<number>> all;
        for (number x = 1; x < 4; x++)
            all.push_back(pool.submit(square, x));
        return all;
    };
    auto futures = submit();
    number sum = taskring::wait(futures).done.size();
    CHECK(!taskring::wait(submit(), taskring::when::first_completed).done.empty());
    for (auto &one : taskring::as_completed(futures))
        sum += 10 * one.future.get();
    for (const number result : pool.map(square, numbers{1, 2, 3}))
        sum += 1000 * result;
    auto last = pool.submit(square, 2);
    last.wait();
    return sum + 100000 * last.result();
}

/// Futures that tasks in threads wait for, once all are there, and how many of the tasks were told that they would wait for ever.
struct {
    std::vector<taskring::future<number>> futures;
    std::atomic<bool> placed{false};
    std::atomic<int> told{0};
} circle;

/// Waits for the task after the one of this place. 1 when it is told that it would wait for ever: of the others each gives one more than the next.
number wait_in_the_circle(number place) {
    until([] { return circle.placed.load(); });
    auto &next = circle.futures[(place + 1) % circle.futures.size()];
    try {
        return next.get() + 1;
    } catch (const taskring::would_deadlock_error &e) {
        CHECK(e.status() == TASKRING_WOULD_DEADLOCK);
        // The future is still good: somebody else may wait for it.
        CHECK(next.valid());
        circle.told++;
        return 1;
    }
}

void define_more() {
    taskring::define(fibonacci, [](number n) -> number {
        if (n < 2)
            return n;
        auto pool = taskring::pool::current();
        auto a = pool.submit(fibonacci, n - 1), b = pool.submit(fibonacci, n - 2);
        return a.get() + b.get();
    });
    taskring::define(depth, [](number n) -> number { return n == 0 ? 0 : 1 + taskring::pool::current().submit(depth, n - 1).get(); });
    taskring::define(says_where, [] { return number{taskring::pool::current().stats().capacity}; });
    taskring::define(every_wait, waits_in_every_way);
    taskring::define(wait_for_next, wait_in_the_circle);
}

void semantics_b4_a_single_worker_runs_what_its_tasks_wait_for(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    CHECK(pool.submit(fibonacci, 9).get_for(LIMIT) == 34);
    CHECK(pool.submit(every_wait).get_for(LIMIT) == 3 + 10 * 14 + 1000 * 14 + 100000 * 4);
    CHECK(pool.submit(square, 6).get() == 36);
}

void semantics_b4_a_task_that_would_lie_too_deep_is_an_error(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 256);
    CHECK(pool.submit(depth, 64).get_for(LIMIT) == 64);
    CHECK(thrown<taskring::task_error>([&] { pool.submit(depth, 66).get_for(LIMIT); }).find("the limit is 64") != std::string::npos);
    CHECK(pool.submit(square, 6).get() == 36);
}

/// So many tasks in as many threads, each of which waits for the next one. A future belongs to one process, so that only its threads can wait in a circle:
/// with workers that are processes, the pool of the kind is there to be none of it.
void wait_in_a_circle(std::uint32_t kind, number tasks) {
    auto pool = make_pool(kind, 1);
    {
        // That others might come changes nothing: who is waited for has begun.
        taskring::setup chosen;
        chosen.replacements(2);
        taskring::pool threads(chosen.apply(make_config(in_threads(kind) ? kind : TASKRING_THREAD, static_cast<std::uint32_t>(tasks))));
        for (number place = 0; place < tasks; place++)
            circle.futures.push_back(threads.submit(wait_for_next, place));
        circle.placed = true;
        threads.shutdown(true, false);
        CHECK(circle.told == 1);
        // One is left: that of the task for which somebody would not wait. It has the longest way to the one that was told.
        std::size_t left = 0;
        for (auto &one : circle.futures)
            if (one.valid()) {
                CHECK(one.get_for(0ms) == tasks);
                left++;
            }
        CHECK(left == 1);
    }
    CHECK(pool.submit(square, 6).get() == 36);
}

void semantics_b4_two_that_wait_for_each_other_throw_once(std::uint32_t kind) { wait_in_a_circle(kind, 2); }
void semantics_b4_three_that_wait_in_a_circle_throw_once(std::uint32_t kind) { wait_in_a_circle(kind, 3); }

void semantics_p36_current_is_the_pool_of_the_task_and_throws_elsewhere(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 32);
    CHECK(pool.submit(says_where).get() == 32);
    // What ended there was a handle, and not the pool.
    CHECK(pool.submit(says_where).get() == 32);
    CHECK(status_of([] { taskring::pool::current(); }) == TASKRING_UNSUPPORTED);
}

const semantics_case cases[] = {
    CASE(semantics_b4_a_single_worker_runs_what_its_tasks_wait_for),
    CASE(semantics_b4_a_task_that_would_lie_too_deep_is_an_error),
    CASE(semantics_b4_two_that_wait_for_each_other_throw_once),
    CASE(semantics_b4_three_that_wait_in_a_circle_throw_once),
    CASE(semantics_p36_current_is_the_pool_of_the_task_and_throws_elsewhere),
};

} // namespace

int main(int argc, char **argv) {
    define_more();
    return run_cases(argc, argv, cases);
}
