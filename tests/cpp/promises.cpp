// Promises: every way to complete one, races with a cancel, and waits that take promises and tasks together.
#include "check.hpp"

#include <atomic>
#include <stdexcept>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};

void ends() {
    taskring::promise<std::string> good, bad, thrower;
    auto result = good.get_future(), error = bad.get_future(), exception = thrower.get_future();
    CHECK(result.state() == taskring::state::pending && good.set_running_or_notify_cancel());
    CHECK(result.state() == taskring::state::running && status_of([&] { good.set_running_or_notify_cancel(); }) == TASKRING_INVALID_STATE);
    CHECK(!good.cancel_requested() && !result.cancel() && good.cancel_requested());
    good.set_result("a value");
    bad.set_error("an error");
    thrower.set_exception(std::make_exception_ptr(std::runtime_error("an exception")));
    for (auto *over : {&good, &bad, &thrower}) {
        CHECK(thrown<taskring::invalid_state_error>([&] { over->set_result("late"); }) == "the task is done; wanted pending or running");
        CHECK(thrown<taskring::invalid_state_error>([&] { over->set_error("late"); }) == "the task is done; wanted pending or running");
    }
    CHECK(result.get() == "a value");
    CHECK(thrown<taskring::task_error>([&] { error.get(); }).find("an error") != std::string::npos);
    CHECK(thrown<taskring::task_error>([&] { exception.get(); }).find("an exception") != std::string::npos);
    CHECK(status_of([&] { good.get_future(); }) == TASKRING_INVALID_STATE);

    taskring::promise<void> nothing;
    auto nothing_more = nothing.get_future();
    nothing.set_result();
    nothing_more.get();

    taskring::promise<std::vector<std::uint64_t>> large;
    auto values = large.get_future();
    large.set_result(std::vector<std::uint64_t>(100000, 7));
    CHECK(values.get() == std::vector<std::uint64_t>(100000, 7));
}

void cancelled() {
    taskring::promise<std::uint64_t> promise;
    auto future = promise.get_future();
    CHECK(future.cancel() && future.cancel());
    CHECK(!promise.set_running_or_notify_cancel());
    CHECK(thrown<taskring::invalid_state_error>([&] { promise.set_result(1); }) == "the task is cancelled; wanted pending or running");
    CHECK(status_of([&] { future.get(); }) == TASKRING_CANCELLED);
    CHECK(status_of([&] { promise.set_error("late"); }) == TASKRING_INVALID_STATE);
}

void destroyed() {
    taskring::future<int> pending, running;
    {
        taskring::promise<int> first, second, never_asked;
        pending = first.get_future();
        running = second.get_future();
        CHECK(second.set_running_or_notify_cancel());
        const taskring::promise<int> moved = std::move(first);
        CHECK(pending.state() == taskring::state::pending);
    }
    CHECK(status_of([&] { pending.get(); }) == TASKRING_CANCELLED);
    CHECK(thrown<taskring::task_error>([&] { running.get(); }).find("the promise was dropped before it was completed") != std::string::npos);
}

void races() {
    int results = 0, cancels = 0;
    for (int i = 0; i < 300; i++) {
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
    CHECK(results + cancels == 300);
}

void together(std::uint32_t method) {
    taskring::pool pool(make_config(method, 1));
    taskring::promise<std::uint64_t> promise;
    std::vector<taskring::future<std::uint64_t>> futures;
    futures.push_back(promise.get_future());
    futures.push_back(pool.submit(square, 9));
    std::atomic<int> called{0};
    futures[0].on_done([&] { called++; });
    std::thread other;
    std::uint64_t sum = 0, seen = 0;
    for (auto &[index, future] : taskring::as_completed(futures, LIMIT)) {
        if (seen++ == 0) {
            CHECK(index == 1);
            other = std::thread([&] { promise.set_result(19); });
        }
        sum += future.get();
    }
    other.join();
    CHECK(seen == 2 && sum == 100);
    until([&] { return called == 1; });
}

} // namespace

int main(int argc, char **argv) {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::init(argc, argv);
    ends();
    cancelled();
    destroyed();
    races();
    together(TASKRING_THREAD);
    if (argc == 1)
        together(TASKRING_SPAWN);
    std::puts("ok");
}
