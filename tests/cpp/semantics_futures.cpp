// Section F of the contract in C++, and what section S says of futures.
#include "semantics_shared.hpp"

#include <atomic>
#include <mutex>
#include <sstream>

namespace {

void semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it(std::uint32_t kind) {
    std::atomic<int> calls{0};
    {
        auto pool = make_pool(kind, 1);
        auto running = busy(pool);
        auto pending = pool.submit(square, 3);
        pending.on_done([&calls] { calls++; });
        CHECK(pending.cancel() && pending.cancel());
        thrown<taskring::cancelled_error>([&] { pending.result(); });
        CHECK(!running.cancel()); // It is asked to stop, which is ours.
        running.wait();
        CHECK(!running.cancel() && running.state() == taskring::state::done);
        running.get();
    }
    CHECK(calls == 1);
}

void semantics_f2_cancelling_wakes_who_waits_and_has_callbacks_called_in_another_thread(std::uint32_t kind) {
    std::atomic<bool> heard{false}, returned{false};
    std::atomic<int> calls{0};
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto pending = pool.submit(square, 3);
    pending.on_done([&, canceller = std::this_thread::get_id()](const taskring::future<number> &over) {
        CHECK(over.is_cancelled() && std::this_thread::get_id() != canceller);
        // Outside of any lock: who waits hears of it, and who cancels goes on, before this returns. It may ask and submit.
        until([&] { return heard && returned; });
        thrown<taskring::cancelled_error>([&] { over.result(); });
        CHECK(pool.submit(square, 4).cancel());
        calls++;
    });
    std::thread waiter([&] {
        thrown<taskring::cancelled_error>([&] { pending.result(); });
        heard = true;
    });
    CHECK(pending.cancel());
    CHECK(calls == 0);
    returned = true;
    waiter.join();
    until([&] { return calls == 1; });
    CHECK(pending.cancel() && running.is_running() && !running.cancel());
    CHECK(pool.submit(square, 6).get() == 36 && calls == 1);
}

void semantics_f3_each_state_is_told(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto cancelled = pool.submit(square, 3), done = pool.submit(square, 4);
    CHECK(running.is_running() && !running.done() && !running.is_cancelled());
    CHECK(!done.is_running() && !done.done() && done.state() == taskring::state::pending);
    cancelled.cancel();
    CHECK(cancelled.is_cancelled() && cancelled.done() && !cancelled.is_running());
    running.cancel();
    done.wait();
    CHECK(done.done() && !done.is_cancelled() && !done.is_running());
}

void semantics_f4_a_result_comes_in_time_or_may_be_asked_for_again(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto pending = pool.submit(square, 9);
    auto failing = pool.submit(complain, "alas");
    thrown<taskring::timeout_error>([&] { pending.get_for(0ms); });
    thrown<taskring::timeout_error>([&] { pending.get_for(2ms); });
    running.cancel();
    CHECK(pending.get_for(LIMIT) == 81);
    failing.wait();
    CHECK(thrown<taskring::task_error>([&] { failing.get_for(0ms); }) == "alas"); // What is over needs no time.
}

void semantics_f5_the_exception_of_a_task_is_given_and_nothing_taken(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto good = pool.submit(square, 6), cancelled = pool.submit(square, 7);
    auto failing = pool.submit(complain, "alas");
    thrown<taskring::timeout_error>([&] { good.exception_for(1ms); });
    cancelled.cancel();
    running.cancel();
    CHECK(good.exception() == nullptr && good.exception_for(0ms) == nullptr);
    const auto error = failing.exception_for(LIMIT);
    CHECK(error != nullptr && thrown<taskring::task_error>([&] { std::rethrow_exception(error); }) == "alas");
    thrown<taskring::cancelled_error>([&] { cancelled.exception(); });
    CHECK(good.get() == 36 && thrown<taskring::task_error>([&] { failing.get(); }) == "alas");
}

void semantics_f6_whoever_waits_for_a_result_hears_of_the_cancelling(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto pending = pool.submit(square, 2);
    std::atomic<bool> began{false}, heard{false};
    std::thread asker([&] {
        began = true;
        thrown<taskring::cancelled_error>([&] { pending.result(); });
        heard = true;
    });
    until([&] { return began.load(); });
    std::this_thread::sleep_for(5ms); // Most likely it sleeps by now; what holds, holds otherwise as well.
    CHECK(!heard && pending.cancel());
    asker.join();
    CHECK(heard && running.is_running());
    running.cancel();
}

/// A callback that takes as long as it is told to.
struct slow_callback {
    std::atomic<bool> begun{false}, may_end{false};
    void operator()() {
        begun = true;
        until([this] { return may_end.load(); });
    }
};

void semantics_f10_a_result_may_come_before_slow_callbacks_end(std::uint32_t kind) {
    slow_callback slow;
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto task = pool.submit(square, 7);
    task.on_done([&slow] { slow(); });
    running.cancel();
    until([&] { return slow.begun.load(); });
    CHECK(task.get_for(0ms) == 49 && !slow.may_end);
    slow.may_end = true;
}

void semantics_s2_a_slow_callback_delays_later_callbacks_only(std::uint32_t kind) {
    slow_callback slow;
    std::atomic<int> later{0};
    {
        auto pool = make_pool(kind, 1);
        auto running = busy(pool);
        auto first = pool.submit(square, 1), second = pool.submit(square, 2);
        first.on_done([&slow] { slow(); });
        second.on_done([&later] { later++; });
        running.cancel();
        until([&] { return slow.begun.load(); });
        for (number x = 0; x < 20; x += 2)
            CHECK(pool.submit(square, x).get() == x * x);
        CHECK(second.wait_for(LIMIT) && later == 0);
        std::vector<taskring::future<number>> more;
        more.push_back(pool.submit(square, 3));
        for (auto &one : taskring::as_completed(more))
            CHECK(one.future.get() == 9);
        slow.may_end = true;
    }
    CHECK(later == 1);
}

void semantics_f11_callbacks_come_in_the_order_added_with_their_future_and_late_ones_at_once(std::uint32_t kind) {
    std::mutex mutex;
    std::string order;
    std::thread::id where;
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto task = pool.submit(square, 7);
    const auto note = [&](const char *what) {
        const std::lock_guard<std::mutex> guard(mutex);
        order += what;
        where = std::this_thread::get_id();
    };
    const auto noted = [&](const std::string &wanted) {
        const std::lock_guard<std::mutex> guard(mutex);
        return order == wanted;
    };
    const auto with_future = [note, ticket = task.ticket()](const taskring::future<number> &over) {
        CHECK(over.ticket() == ticket && over.done() && over.result() == 49 && over.exception() == nullptr);
        note("a");
    };
    task.on_done(with_future);
    task.on_done([note] { note("b"); });
    task.on_done(with_future); // Twice is twice.
    running.cancel();
    until([&] { return noted("aba"); });
    CHECK(where != std::this_thread::get_id());
    task.on_done([note] { note("c"); });
    CHECK(noted("abac") && where == std::this_thread::get_id());
    CHECK(task.get() == 49); // Nobody has taken it.
}

void semantics_f12_what_a_callback_throws_is_logged_and_the_others_run(std::uint32_t kind) {
    std::mutex mutex;
    std::string said;
    taskring::set_log(TASKRING_LOG_ERROR, [&](std::uint32_t, std::string_view text) {
        const std::lock_guard<std::mutex> guard(mutex);
        said.append(text).append("; ");
    });
    std::atomic<int> others{0};
    {
        auto pool = make_pool(kind, 1);
        auto running = busy(pool);
        auto task = pool.submit(square, 7);
        task.on_done([] { throw std::runtime_error("first"); });
        task.on_done([] { throw 7; });
        task.on_done([&others] { others++; });
        running.cancel();
        until([&] { return others == 1; });
        // At once, in this thread: it does not come out of on_done either.
        task.on_done([](const auto &over) { throw std::runtime_error("late " + std::to_string(over.result())); });
        CHECK(task.get() == 49);
    }
    taskring::set_log(nullptr);
    CHECK(said == "a done-callback threw: first; a done-callback threw: an exception that is no std::exception; a done-callback threw: late 49; ");
}

void semantics_f13_a_callback_may_ask_cancel_submit_and_add_callbacks(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 4);
    std::atomic<bool> over{false};
    std::atomic<int> late{0};
    auto running = busy(pool);
    auto task = pool.submit(square, 8), other = pool.submit(square, 9);
    CHECK(other.cancel());
    task.on_done([&](const taskring::future<number> &done) {
        CHECK(done.result() == 64 && !done.cancel() && other.cancel());
        CHECK(pool.submit(square, 11).get() == 121);
        done.on_done([&late] { late++; });
        CHECK(late == 1);
        over = true;
    });
    running.cancel();
    until([&] { return over.load(); });
    CHECK(task.get() == 64);
}

/// The one who submitted need not be there any more: the callback gets a future of its own to look at, and what it asks for is no longer there.
void semantics_f13_a_callback_of_a_future_that_is_gone_is_told_so(std::uint32_t kind) {
    std::atomic<int> refused{0};
    {
        auto pool = make_pool(kind, 1);
        auto running = busy(pool);
        auto task = pool.submit(square, 8);
        task.on_done([&refused](const taskring::future<number> &over) {
            const auto status = status_of([&] { over.result(); });
            refused += status == TASKRING_STALE;
        });
        { const auto gone = std::move(task); }
        running.cancel();
        CHECK(pool.submit(square, 2).get() == 4);
    }
    CHECK(refused == 1);
}

void semantics_f18_a_cancelled_task_that_no_worker_looked_at_is_over_at_once(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    std::vector<taskring::future<number>> both;
    both.push_back(pool.submit(square, 1));
    both.push_back(pool.submit(square, 2));
    CHECK(both[1].cancel());
    CHECK(taskring::wait(both, LIMIT, taskring::when::first_completed).done == std::vector<std::size_t>{1});
    pool.shutdown(false, true);
    CHECK(taskring::wait(both, LIMIT).done.size() == 2);
    std::size_t seen = 0;
    for (auto &one : taskring::as_completed(both, LIMIT)) {
        thrown<taskring::cancelled_error>([&] { one.future.get(); });
        seen++;
    }
    CHECK(seen == 2 && running.is_running());
    running.cancel();
}

void semantics_s10_a_text_names_the_task_its_state_its_process_and_its_result(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto good = pool.submit(square, 4), cancelled = pool.submit(square, 3);
    const std::string long_text(300, 'x');
    auto failing = pool.submit(complain, long_text);
    std::uint32_t pid = 0;
    CHECK(taskring_worker_pid(pool.get(), running.ticket(), &pid) == TASKRING_OK);
    const auto text = [](const auto &of) {
        std::ostringstream named, all;
        named << "task 0x" << std::hex << of.ticket() << ' ';
        all << of;
        CHECK(all.str() == of.describe() && all.str().compare(0, named.str().size(), named.str()) == 0);
        return all.str().substr(named.str().size());
    };
    cancelled.cancel();
    CHECK(text(running) == "running in process " + std::to_string(pid));
    CHECK(text(good) == "pending" && text(cancelled) == "cancelled");
    running.cancel();
    failing.wait();
    CHECK(text(good) == "done, with a result of 8 bytes");
    CHECK(text(failing) == "done, without a result: the task failed: " + long_text);
    CHECK(good.get() == 16 && good.describe() == "no task");
}

void semantics_s13_a_result_may_be_asked_for_again_and_a_dropped_future_lets_its_task_run(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto task = pool.submit(square, 12);
    std::vector<std::thread> askers;
    for (int i = 0; i < 3; i++)
        askers.emplace_back([&task] {
            for (int k = 0; k < 50; k++)
                CHECK(task.result() == 144);
        });
    for (auto &asker : askers)
        asker.join();
    CHECK(task.result_for(0ms) == 144 && task.get() == 144 && !task.valid());
    auto failing = pool.submit(complain, "alas");
    for (int i = 0; i < 2; i++)
        CHECK(thrown<taskring::task_error>([&] { failing.result(); }) == "alas");
    const auto large = pool.submit(complain, std::string(1000, 'x'));
    CHECK(thrown<taskring::task_error>([&] { large.result(); }).size() == 1000);
    const auto before = pool.stats().finished;
    { auto dropped = pool.submit(square, 6); }
    CHECK(pool.submit(square, 2).get() == 4);
    until([&] { return pool.stats().finished >= before + 2; });
}

const semantics_case cases[] = {
    CASE(semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it),
    CASE(semantics_f2_cancelling_wakes_who_waits_and_has_callbacks_called_in_another_thread),
    CASE(semantics_f3_each_state_is_told),
    CASE(semantics_f4_a_result_comes_in_time_or_may_be_asked_for_again),
    CASE(semantics_f5_the_exception_of_a_task_is_given_and_nothing_taken),
    CASE(semantics_f6_whoever_waits_for_a_result_hears_of_the_cancelling),
    CASE(semantics_f10_a_result_may_come_before_slow_callbacks_end),
    CASE(semantics_s2_a_slow_callback_delays_later_callbacks_only),
    CASE(semantics_f11_callbacks_come_in_the_order_added_with_their_future_and_late_ones_at_once),
    CASE(semantics_f12_what_a_callback_throws_is_logged_and_the_others_run),
    CASE(semantics_f13_a_callback_may_ask_cancel_submit_and_add_callbacks),
    CASE(semantics_f13_a_callback_of_a_future_that_is_gone_is_told_so),
    CASE(semantics_f18_a_cancelled_task_that_no_worker_looked_at_is_over_at_once),
    CASE(semantics_s10_a_text_names_the_task_its_state_its_process_and_its_result),
    CASE(semantics_s13_a_result_may_be_asked_for_again_and_a_dropped_future_lets_its_task_run),
};

} // namespace

int main(int argc, char **argv) { return run_cases(argc, argv, cases); }
