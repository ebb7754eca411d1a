// Rows F8 and F9 of the contract in C++: promises, and what rows W11 and A7 say of them. Those that need no pool have one all the same, whose tasks or
// callbacks complete them.
#include "semantics_shared.hpp"

#include <atomic>
#include <stdexcept>

namespace {

template <class R> bool refuses(taskring::promise<R> &over, const std::string &state) {
    const auto wanted = "the task is " + state + "; wanted pending or running";
    return thrown<taskring::invalid_state_error>([&] { over.set_error("late"); }) == wanted;
}

void semantics_f8_a_promise_is_set_running_once_and_then_only_asked_to_stop(std::uint32_t kind) {
    taskring::promise<number> promise;
    auto future = promise.get_future();
    CHECK(status_of([&] { promise.get_future(); }) == TASKRING_INVALID_STATE);
    CHECK(future.state() == taskring::state::pending && promise.set_running_or_notify_cancel());
    CHECK(future.state() == taskring::state::running);
    thrown<taskring::invalid_state_error>([&] { promise.set_running_or_notify_cancel(); });
    CHECK(!promise.cancel_requested() && !future.cancel() && promise.cancel_requested());
    auto pool = make_pool(kind, 1);
    auto task = pool.submit(square, 6);
    task.on_done([&](const taskring::future<number> &over) { promise.set_result(over.result()); });
    CHECK(future.get_for(LIMIT) == 36);
    thrown<taskring::invalid_state_error>([&] { promise.set_running_or_notify_cancel(); });
}

void semantics_f8_a_cancelled_promise_says_that_there_is_nothing_to_do(std::uint32_t kind) {
    taskring::promise<number> promise;
    auto future = promise.get_future();
    std::thread waiter([&] { CHECK(taskring::wait(std::vector<taskring_future>{future.handle()}, LIMIT).done.size() == 1); });
    CHECK(future.cancel());
    waiter.join(); // Before the promise hears of it.
    CHECK(!promise.set_running_or_notify_cancel() && !promise.set_running_or_notify_cancel());
    CHECK(refuses(promise, "cancelled") && future.cancel());
    thrown<taskring::cancelled_error>([&] { future.get(); });
    // Nothing of it is in the way of what comes after it.
    auto pool = make_pool(kind, 1);
    auto task = pool.submit(square, 6);
    CHECK(task.get() == 36 && !promise.set_running_or_notify_cancel());
}

void semantics_f9_a_promise_takes_a_result_an_error_or_an_exception_and_refuses_another(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    for (const bool running : {false, true}) {
        taskring::promise<std::string> good, bad, thrower;
        auto result = good.get_future(), error = bad.get_future(), exception = thrower.get_future();
        for (auto *one : {&good, &bad, &thrower})
            CHECK(!running || one->set_running_or_notify_cancel());
        auto task = pool.submit(square, 4);
        task.on_done([&](const taskring::future<number> &over) { good.set_result(std::to_string(over.result())); });
        bad.set_error("an error");
        thrower.set_exception(std::make_exception_ptr(std::runtime_error("an exception")));
        CHECK(result.result_for(LIMIT) == "16");
        for (auto *over : {&good, &bad, &thrower}) {
            thrown<taskring::invalid_state_error>([&] { over->set_result("late"); });
            CHECK(refuses(*over, "done"));
        }
        CHECK(result.get() == "16" && thrown<taskring::task_error>([&] { error.get(); }) == "an error");
        CHECK(thrown<taskring::task_error>([&] { exception.get(); }) == "an exception");
        // Its result was taken, and it refuses as before.
        CHECK(refuses(good, "done"));
    }
    taskring::promise<void> nothing;
    auto nothing_more = nothing.get_future();
    nothing.set_result();
    nothing_more.get();
    taskring::promise<numbers> large;
    auto values = large.get_future();
    large.set_result(numbers(100000, 7));
    CHECK(values.get() == numbers(100000, 7));
}

void semantics_f9_a_destroyed_promise_ends_its_future(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    std::atomic<bool> heard{false};
    taskring::future<int> pending, running;
    {
        taskring::promise<int> first, second, never_asked;
        pending = first.get_future();
        running = second.get_future();
        CHECK(second.set_running_or_notify_cancel());
        const taskring::promise<int> moved = std::move(first);
        CHECK(pending.state() == taskring::state::pending);
        // Who waits in a callback hears of it as well: in another thread, for its task still runs.
        auto task = busy(pool);
        task.on_done([&] {
            thrown<taskring::cancelled_error>([&] { pending.result_for(LIMIT); });
            heard = true;
        });
        task.cancel();
    }
    thrown<taskring::cancelled_error>([&] { pending.result(); });
    CHECK(thrown<taskring::task_error>([&] { running.get(); }) == "the promise was dropped before it was completed");
    until([&] { return heard.load(); });
}

void semantics_f9_of_a_cancel_and_a_result_one_comes_too_late(std::uint32_t) {
    int results = 0, cancels = 0;
    for (int i = 0; i < 200; i++) {
        taskring::promise<int> promise;
        auto future = promise.get_future();
        std::atomic<bool> set{false};
        std::thread other([&] {
            try {
                promise.set_result(i);
                set = true;
            } catch (const taskring::invalid_state_error &) {
            }
        });
        const bool cancelled = future.cancel();
        other.join();
        CHECK(cancelled != set);
        cancels += cancelled;
        results += set;
        CHECK(cancelled ? status_of([&] { future.get(); }) == TASKRING_CANCELLED : future.get() == i);
    }
    CHECK(results + cancels == 200);
}

void semantics_w11_a_promise_is_waited_for_together_with_tasks(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    taskring::promise<number> promise;
    std::vector<taskring::future<number>> all;
    all.push_back(busy_number(pool));
    all.push_back(promise.get_future());
    CHECK(taskring::wait(all, 1ms, taskring::when::first_completed).done.empty());
    std::thread other([&] { promise.set_error("no"); });
    CHECK(taskring::wait(all, LIMIT, taskring::when::first_exception).done == std::vector<std::size_t>{1});
    other.join();
    all[0].cancel();
    CHECK(taskring::wait(all, LIMIT).done.size() == 2);
}

void semantics_a7_promises_come_out_together_with_tasks_as_they_end(std::uint32_t kind) {
    std::atomic<int> called{0};
    auto pool = make_pool(kind, 1);
    taskring::promise<number> promise;
    std::vector<taskring::future<number>> all;
    all.push_back(promise.get_future());
    all.push_back(pool.submit(square, 9));
    all[0].on_done([&] { called++; });
    std::thread other;
    std::string order;
    number sum = 0;
    for (auto &[index, future] : taskring::as_completed(all, LIMIT)) {
        order += std::to_string(index);
        if (order == "1")
            other = std::thread([&] { promise.set_result(19); });
        sum += future.get();
    }
    other.join();
    CHECK(order == "10" && sum == 100);
    until([&] { return called == 1; });
}

const semantics_case cases[] = {
    CASE(semantics_f8_a_promise_is_set_running_once_and_then_only_asked_to_stop),
    CASE(semantics_f8_a_cancelled_promise_says_that_there_is_nothing_to_do),
    CASE(semantics_f9_a_promise_takes_a_result_an_error_or_an_exception_and_refuses_another),
    CASE(semantics_f9_a_destroyed_promise_ends_its_future),
    CASE(semantics_f9_of_a_cancel_and_a_result_one_comes_too_late),
    CASE(semantics_w11_a_promise_is_waited_for_together_with_tasks),
    CASE(semantics_a7_promises_come_out_together_with_tasks_as_they_end),
};

} // namespace

int main(int argc, char **argv) { return run_cases(argc, argv, cases); }
