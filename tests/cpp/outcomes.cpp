// How tasks end, told by outcomes and by exceptions; and the options of a task.
#include "check.hpp"

#include <csignal>
#include <unistd.h>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<std::string(std::uint64_t)> wrong_square{"square"};
const taskring::task<bool(bool)> same{"same"};
const taskring::task<void(std::string)> complain{"complain"};
const taskring::task<void()> until_asked{"until_asked"};
const taskring::task<std::uint32_t(std::uint32_t)> die_until_attempt{"die_until_attempt"};
const taskring::task<void()> unknown{"no such function"};

void define_all() {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(same, [](bool x) { return x; });
    taskring::define(complain, [](std::string text) {
        if (!text.empty())
            throw std::runtime_error(text);
    });
    taskring::define(until_asked, [] {
        for (int i = 0; i < 30000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
    });
    taskring::define(die_until_attempt, [](std::uint32_t last) {
        if (taskring_attempt() < last)
            std::raise(SIGKILL);
        return taskring_attempt();
    });
}

void ends(taskring::pool &pool) {
    auto squared = pool.submit(square, 9u).try_get();
    CHECK(squared && *squared == 81 && squared.value() == 81 && squared.status() == TASKRING_OK && squared.message().empty());
    const auto no = pool.submit(same, false).try_get();
    CHECK(no && !*no);
    CHECK(pool.submit(complain, "").try_get());

    auto f = pool.submit(complain, "alas");
    const auto failed = f.try_get();
    // What this thread does afterwards changes nothing of it.
    CHECK(taskring_release(nullptr, 1) == TASKRING_INVALID_ARGUMENT);
    CHECK(!failed && failed.status() == TASKRING_TASK_FAILED && failed.message() == "alas" && failed.loss().pid == 0);
    CHECK(thrown<taskring::task_error>([&] { failed.value(); }) == "alas");
    CHECK(!f.valid() && f.try_get().status() != TASKRING_OK);

    const auto misread = pool.submit(wrong_square, 3u).try_get();
    CHECK(!misread && misread.status() == TASKRING_DECODE && misread.message().find("another type") != std::string::npos);
    CHECK(status_of([&] { pool.submit(wrong_square, 3u).get(); }) == TASKRING_DECODE);
}

void room(std::uint32_t method) {
    auto made = taskring::pool::try_make(make_config(method, 1, 4));
    CHECK(made);
    taskring::pool pool = std::move(made).value();
    auto running = pool.submit(until_asked);
    until_running(running);
    auto pending = pool.submit(square, 2u);
    CHECK(pending.try_get_for(2ms).status() == TASKRING_TIMED_OUT && pending.valid());
    std::vector<taskring::future<std::uint64_t>> held;
    auto next = pool.try_submit(square, 1u);
    for (; next; next = pool.try_submit(square, 1u))
        held.push_back(std::move(*next));
    CHECK(next.status() == TASKRING_FULL && held.size() == 2 && !next.message().empty());
    CHECK(status_of([&] { next.value(); }) == TASKRING_FULL);
    const auto start = std::chrono::steady_clock::now();
    CHECK(pool.try_submit_for(20ms, square, 1u).status() == TASKRING_TIMED_OUT);
    CHECK(std::chrono::steady_clock::now() - start >= 20ms);
    CHECK(pool.try_submit_for(0ms, square, 1u).status() == TASKRING_FULL);
    CHECK(pending.cancel());
    const auto cancelled = pending.try_get();
    CHECK(!cancelled && cancelled.status() == TASKRING_CANCELLED);
    thrown<taskring::cancelled_error>([&] { cancelled.value(); });
    // Full again, until the running task ends.
    held.push_back(pool.submit(square, 1u));
    const std::uint64_t ticket = running.ticket();
    std::thread elsewhere([&] { taskring_cancel(pool.get(), ticket, nullptr); });
    auto late = pool.try_submit_for(LIMIT, square, 5u);
    elsewhere.join();
    CHECK(late && late->get() == 25 && running.try_get());
    // Times that nanoseconds do not hold.
    auto again = pool.submit(until_asked);
    until_running(again);
    thrown<taskring::timeout_error>([&] { again.get_for(-1h); });
    thrown<taskring::timeout_error>([&] { again.get_for(std::chrono::duration<double>(0.001)); });
    std::thread canceller([in = pool.get(), of = again.ticket()] { taskring_cancel(in, of, nullptr); });
    again.get_for(std::chrono::hours::max());
    canceller.join();
    CHECK(pool.try_submit(unknown).status() == TASKRING_UNKNOWN_FUNCTION);
    CHECK(status_of([&] { pool.submit(unknown); }) == TASKRING_UNKNOWN_FUNCTION);
    pool.shutdown(false, false);
    CHECK(pool.try_submit(square, 1u).status() == TASKRING_SHUT_DOWN);
}

void making() {
    const auto refused = taskring::pool::try_make(make_config(TASKRING_SPAWN, 100000));
    CHECK(!refused && refused.status() == TASKRING_INVALID_ARGUMENT && refused.message().find("100000") != std::string::npos);
    const std::string name = "outcomes-" + std::to_string(getpid());
    CHECK(taskring::pool::try_attach(name).status() == TASKRING_NOT_FOUND);
    CHECK(status_of([&] { taskring::pool::attach(name); }) == TASKRING_NOT_FOUND);
    auto owner = taskring::pool::try_create_named(name, make_config(TASKRING_SPAWN, 1));
    CHECK(owner && taskring::pool::try_create_named(name).status() == TASKRING_EXISTS);
    auto guest = taskring::pool::try_attach(name);
    CHECK(guest && guest->submit(square, 4u).get() == 16);
}

/// Kills the process that runs the task, and gives its number.
template <class R> std::uint32_t kill_worker_of(const taskring::future<R> &f) {
    until_running(f);
    std::uint32_t pid = 0;
    CHECK(taskring_worker_pid(f.pool(), f.ticket(), &pid) == TASKRING_OK && pid != 0 && pid != static_cast<std::uint32_t>(getpid()));
    CHECK(kill(static_cast<pid_t>(pid), SIGKILL) == 0);
    return pid;
}

void losses(taskring::pool &pool) {
    auto f = pool.submit(until_asked);
    const std::uint32_t pid = kill_worker_of(f);
    const auto lost = f.try_get_for(LIMIT);
    CHECK(taskring_release(nullptr, 1) == TASKRING_INVALID_ARGUMENT);
    CHECK(!lost && lost.status() == TASKRING_WORKER_LOST && !f.valid());
    CHECK(lost.loss().pid == pid && lost.loss().signal == SIGKILL && lost.loss().exit_code == -1 && lost.loss().may_have_run == 1);
    try {
        lost.value();
        CHECK(!"it throws");
    } catch (const taskring::worker_lost &e) {
        CHECK(e.loss().pid == pid && e.what() == lost.message());
    }
    auto seen = pool.submit(until_asked);
    kill_worker_of(seen);
    thrown<taskring::worker_lost>([&] { seen.view(); });
    CHECK(!seen.valid());
}

void options(taskring::pool &pool) {
    using taskring::options;
    CHECK(pool.submit(die_until_attempt, 1u).try_get_for(LIMIT).status() == TASKRING_WORKER_LOST);
    CHECK(pool.submit(options().idempotent(), die_until_attempt, 1u).get_for(LIMIT) == 1);
    CHECK(pool.submit(options().idempotent(), die_until_attempt, 2u).try_get_for(LIMIT).status() == TASKRING_WORKER_LOST);
    CHECK(pool.try_submit(options().idempotent().attempts_max(2), die_until_attempt, 1u).value().get_for(LIMIT) == 1);
    CHECK(pool.try_submit_for(LIMIT, options().idempotent().attempts_max(1), die_until_attempt, 1u)->try_get_for(LIMIT).status() ==
          TASKRING_WORKER_LOST);
    auto retrying = make_config(TASKRING_SPAWN, 1);
    retrying.on_worker_death = TASKRING_DEATH_RETRIES;
    taskring::pool other(retrying);
    CHECK(other.submit(die_until_attempt, 1u).get_for(LIMIT) == 1);
    CHECK(other.submit(options().idempotent(false), die_until_attempt, 1u).try_get_for(LIMIT).status() == TASKRING_WORKER_LOST);
    CHECK(status_of([&] { other.submit(options().attempts_max(256), square, 1u); }) == TASKRING_INVALID_ARGUMENT);
    CHECK(thrown<taskring::invalid_argument_error>([] { options().attempts_max(0); }) == "attempts_max is 0; wanted at least 1");
    CHECK(thrown<taskring::invalid_argument_error>([] { taskring::retry(0); }) == "retry attempts is 0; wanted at least 1");

    auto set = pool.new_set();
    auto queue = taskring::completions();
    const auto how = options().set(set).completions(queue, 40);
    CHECK(pool.submit(how, square, 6u).get() == 36);
    const auto came = queue.next_for(LIMIT);
    CHECK(came && came->user_data == 40 && !queue.next());
    set.discard();
    CHECK(pool.try_submit(how, square, 6u).status() == TASKRING_DISCARDED && !queue.next());
    CHECK(status_of([&] { other.submit(set, square, 6u); }) == TASKRING_INVALID_ARGUMENT);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    for (const std::uint32_t method : {TASKRING_THREAD, TASKRING_SPAWN}) {
        taskring::pool pool(make_config(method, 2));
        ends(pool);
        room(method);
        if (method == TASKRING_SPAWN) {
            losses(pool);
            options(pool);
        }
    }
    making();
    std::puts("ok");
}
