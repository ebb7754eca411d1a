// Row B12 of the contract in C++: the events of a task, each of which is kept until it is read.
#include "semantics_shared.hpp"

#include <atomic>

namespace {

/// What is sent: unlike all others, and of some length.
struct step {
    number at;
    std::string text;
    bool operator==(const step &other) const { return at == other.at && text == other.text; }
};

step step_of(number n) { return {n, std::string(n * 7 % 200, static_cast<char>('a' + n % 26))}; }

} // namespace

template <> struct taskring::codec<step> {
    static void encode(const step &value, std::string &to) { codec<std::tuple<number, std::string>>::encode({value.at, value.text}, to); }
    static step decode(reader &from) {
        auto [at, text] = codec<std::tuple<number, std::string>>::decode(from);
        return {at, std::move(text)};
    }
};

namespace {

const taskring::task<void(number)> sends{"sends"}, sends_and_holds{"sends_and_holds"}, sends_to_nobody{"sends_to_nobody"};
const taskring::task<void()> sends_for_ever{"sends_for_ever"}, sends_large{"sends_large"};
const taskring::task<number()> fills{"fills"};
/// Two in each attempt; the first one fails, or kills its worker.
const taskring::task<number(bool)> sends_twice{"sends_twice"};
/// One, and then it throws or not.
const taskring::task<void(bool)> sends_and_ends{"sends_and_ends"};
/// Reads the events of another task of its pool, without a limit or with one for each. How many it was.
const taskring::task<number(number, bool)> reads_another{"reads_another"};

/// Sends so many, each as soon as there is room for it.
void send_all(number count) {
    for (number n = 0; n < count;) {
        const auto sent = taskring::try_send_event(step_of(n));
        if (sent.status() != TASKRING_EVENTS_FULL)
            sent.value();
        n += sent ? 1 : 0;
    }
}

/// Sends until it is told that there is no room, which it is again at once; when it is asked to stop there is. It gives how many went in before that.
number fill() {
    number sent = 0;
    while (taskring::try_send_event(step_of(sent)))
        sent++;
    const std::string most(1000, 'x');
    CHECK(status_of([&] { taskring::send_event(most); }) == TASKRING_EVENTS_FULL);
    CHECK(taskring::try_send_event(most).message().find("1008 bytes") != std::string::npos);
    taskring::report_progress(sent);
    wait_until_asked();
    taskring::send_event(step_of(0));
    return sent;
}

void send_large() {
    // A text has eight bytes more.
    const std::string most(TASKRING_EVENT_LEN_MAX - 8, 'x');
    CHECK(status_of([&] { taskring::send_event(most + 'x'); }) == TASKRING_PAYLOAD_TOO_LARGE);
    CHECK(taskring::try_send_event(most + 'x').status() == TASKRING_PAYLOAD_TOO_LARGE);
    taskring::send_event(most);
}

/// How much the task says that it has done.
template <class R> number until_told(const taskring::future<R> &task) {
    until([&] { return task.progress().has_value(); });
    return task.progress()->done;
}

/// Reads all until the task is over; how many it was, each in its turn.
template <class R> number read_from(const taskring::future<R> &task, number first) {
    number n = first;
    for (auto &found : task.template events<step>())
        CHECK(found == step_of(n++));
    CHECK(!task.template next_event<step>() && !task.template events<step>().next());
    return n - first;
}

void semantics_b12_events_come_whole_in_order_and_none_is_left_out(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    // Several times what is kept at a time.
    auto first = pool.submit(sends, 3000u), second = pool.submit(sends, 2000u);
    CHECK(read_from(first, 0) == 3000 && read_from(second, 0) == 2000);
    first.get();
    second.get();
    auto silent = pool.submit(square, 3u);
    CHECK(read_from(silent, 0) == 0 && silent.get() == 9);
}

void semantics_b12_a_task_without_room_is_told_and_nothing_is_lost(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto full = pool.submit(fills);
    const number sent = until_told(full);
    CHECK(sent > 100 && full.next_event<step>() == step_of(0) && full.next_event<step>() == step_of(1));
    full.cancel();
    full.wait();
    for (number n = 2; n < sent; n++)
        CHECK(full.next_event<step>() == step_of(n));
    CHECK(read_from(full, 0) == 1 && full.get() == sent);
    auto large = pool.submit(sends_large);
    CHECK(large.events<std::string>().next() == std::string(TASKRING_EVENT_LEN_MAX - 8, 'x'));
    CHECK(!large.events<std::string>().next());
    large.get();
}

void semantics_b12_what_was_sent_before_a_death_is_all_read(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto held = pool.submit(sends_and_holds, 40u);
    until_told(held);
    const auto kill_its_worker = [](const auto &task) {
        std::uint32_t pid = 0;
        taskring::detail::check(taskring_worker_pid(task.pool(), task.ticket(), &pid));
        CHECK(kill(static_cast<pid_t>(pid), SIGKILL) == 0);
    };
    if (in_threads(kind)) {
        held.cancel();
        CHECK(read_from(held, 0) == 40);
        held.get();
        return;
    }
    kill_its_worker(held);
    CHECK(read_from(held, 0) == 40);
    thrown<taskring::worker_lost>([&] { held.get(); });
    // In the middle of one, most likely.
    for (number round = 1; round <= 5; round++) {
        auto sending = pool.submit(sends_for_ever);
        auto events = sending.events<step>();
        for (number n = 0; n < 100 * round; n++)
            CHECK(events.next() == step_of(n));
        kill_its_worker(sending);
        read_from(sending, 100 * round);
        thrown<taskring::worker_lost>([&] { sending.get(); });
    }
}

void semantics_b12_a_further_attempt_sends_behind_the_one_before(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const auto check = [](taskring::future<number> task) {
        numbers all;
        for (auto &n : task.events<number>())
            all.push_back(n);
        CHECK((all == numbers{0, 1, 10, 11}) && task.get() == 1);
    };
    check(pool.submit(taskring::options().retry(taskring::retry(2)), sends_twice, false));
    if (!in_threads(kind))
        check(pool.submit(taskring::options().idempotent(), sends_twice, true));
}

void semantics_b12_events_stay_until_the_result_is_taken(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 4);
    auto failed = pool.submit(sends_and_ends, true);
    // More than there are slots: those that are over are collected for the room.
    std::vector<taskring::future<void>> many;
    for (number i = 0; i < 12; i++)
        many.push_back(pool.submit(sends, i + 1));
    for (auto &task : many) {
        task.wait();
        task.result();
        CHECK(task.view().empty() && !task.exception());
    }
    for (number i = 0; i < 12; i++) {
        if (i % 3 == 0)
            CHECK(read_from(many[i], 0) == i + 1);
        many[i].get();
        CHECK(!many[i].valid() && status_of([&] { many[i].next_event<step>(); }) == TASKRING_INVALID_ARGUMENT);
    }
    CHECK(failed.exception() && failed.next_event<std::string>() == "one");
    thrown<taskring::task_error>([&] { failed.get(); });
}

void semantics_b12_a_callback_reads_the_same_events(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto task = pool.submit(sends_and_holds, 20u);
    std::atomic<int> called{0};
    task.on_done([&](const taskring::future<void> &it) {
        CHECK(it.next_event<step>() == step_of(0));
        called++;
    });
    until_told(task);
    task.cancel();
    until([&] { return called == 1; });
    CHECK(read_from(task, 1) == 19);
    task.get();
}

void semantics_b12_a_wait_for_an_event_has_a_limit_and_may_be_repeated(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto task = busy(pool);
    auto events = task.events<step>();
    for (const auto limit : {0ms, 30ms}) {
        const auto start = std::chrono::steady_clock::now();
        thrown<taskring::timeout_error>([&] { events.next_for(limit); });
        CHECK(events.try_next_for(limit).status() == TASKRING_TIMED_OUT);
        CHECK(std::chrono::steady_clock::now() - start >= 2 * limit && !task.next_event<step>());
    }
    task.cancel();
    CHECK(!events.next_for(LIMIT) && events.try_next_for(LIMIT).status() == TASKRING_END && events.try_next().status() == TASKRING_END);
    auto sending = pool.submit(sends, 2u);
    events = sending.events<step>();
    CHECK(events.next_for(LIMIT) == step_of(0) && *events.try_next_for(LIMIT) == step_of(1) && !events.next_for(LIMIT));
}

void semantics_b12_events_end_with_the_task_however_it_ends(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    for (const bool throws : {false, true}) {
        auto task = pool.submit(sends_and_ends, throws);
        std::vector<std::string> all;
        for (auto &text : task.events<std::string>())
            all.push_back(text);
        CHECK(all == std::vector<std::string>{"one"} && (task.exception() != nullptr) == throws);
    }
    auto running = pool.submit(sends_and_holds, 5u), pending = pool.submit(sends, 7u);
    until_told(running);
    CHECK(pending.cancel() && read_from(pending, 0) == 0);
    if (in_threads(kind))
        running.cancel();
    else
        CHECK(running.cancel_hard());
    CHECK(read_from(running, 0) == 5);
    // What is no value of the type is gone; the next one comes.
    auto mixed = pool.submit(sends_twice, false);
    mixed.wait();
    CHECK(status_of([&] { mixed.next_event<step>(); }) == TASKRING_DECODE);
    auto events = mixed.events<number>();
    CHECK(*events.begin() == 1 && !events.next());
    auto again = pool.submit(taskring::options().retry(taskring::retry(2)), sends_twice, false);
    auto steps = again.events<step>();
    CHECK(steps.try_next().status() == TASKRING_DECODE && status_of([&] { steps.begin(); }) == TASKRING_DECODE);
    // So are bytes that it leaves over.
    CHECK(status_of([&] { again.events<std::uint32_t>().next(); }) == TASKRING_DECODE);
    CHECK(again.events<number>().next() == 11 && again.get() == 1);
}

void semantics_b12_events_for_a_dropped_future_go_nowhere(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const std::string path = "/tmp/taskring-events-cpp-" + std::to_string(getpid());
    {
        auto task = pool.submit(sends_to_nobody, static_cast<number>(getpid()));
        CHECK(task.events<step>().next() == step_of(0));
    }
    // Made when it has sent all.
    until([&] { return std::remove(path.c_str()) == 0; });
    CHECK(pool.submit(square, 4u).get() == 16);
}

void semantics_b12_a_task_reads_the_events_of_another_one(std::uint32_t kind) {
    // Alone it runs the other one on top of itself; with another worker it waits for it.
    {
        auto alone = make_pool(kind, 1);
        CHECK(alone.submit(reads_another, 50u, false).get() == 50);
    }
    auto two = make_pool(kind == TASKRING_FORK ? TASKRING_SPAWN : kind, 2);
    CHECK(two.submit(reads_another, 2000u, true).get() == 2000);
}

void semantics_b12_closures_send_events_too(std::uint32_t) {
    taskring::thread_pool pool;
    auto task = pool.submit([] {
        for (number n = 0; n < 10; n++)
            taskring::send_event(step_of(n));
        return 5;
    });
    CHECK(read_from(task, 0) == 10 && task.get() == 5);
    CHECK(status_of([] { taskring::send_event(3); }) == TASKRING_UNSUPPORTED);
    CHECK(taskring::try_send_event(3).status() == TASKRING_UNSUPPORTED);
    taskring::promise<int> promise;
    auto promised = promise.get_future();
    CHECK(!promised.next_event<step>());
    promise.set_result(7);
    CHECK(!promised.events<step>().next() && promised.get() == 7);
}

const semantics_case cases[] = {
    CASE(semantics_b12_events_come_whole_in_order_and_none_is_left_out),
    CASE(semantics_b12_a_task_without_room_is_told_and_nothing_is_lost),
    CASE(semantics_b12_what_was_sent_before_a_death_is_all_read),
    CASE(semantics_b12_a_further_attempt_sends_behind_the_one_before),
    CASE(semantics_b12_events_stay_until_the_result_is_taken),
    CASE(semantics_b12_a_callback_reads_the_same_events),
    CASE(semantics_b12_a_wait_for_an_event_has_a_limit_and_may_be_repeated),
    CASE(semantics_b12_events_end_with_the_task_however_it_ends),
    CASE(semantics_b12_events_for_a_dropped_future_go_nowhere),
    CASE(semantics_b12_a_task_reads_the_events_of_another_one),
    CASE(semantics_b12_closures_send_events_too),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(sends, send_all);
    taskring::define(sends_and_holds, [](number count) {
        send_all(count);
        taskring::report_progress(1, 1);
        wait_until_asked();
    });
    taskring::define(sends_for_ever, [] { send_all(UINT64_MAX); });
    taskring::define(fills, fill);
    taskring::define(sends_large, send_large);
    taskring::define(sends_twice, [](bool kills) -> number {
        const number attempt = taskring_attempt();
        taskring::send_event(10 * attempt);
        taskring::send_event(10 * attempt + 1);
        if (attempt == 0 && kills)
            std::raise(SIGKILL);
        if (attempt == 0)
            throw std::runtime_error("the first");
        return attempt;
    });
    taskring::define(sends_and_ends, [](bool throws) {
        taskring::send_event(std::string("one"));
        if (throws)
            throw std::runtime_error("as it was told");
    });
    taskring::define(sends_to_nobody, [](number pid) {
        const std::string bytes(1000, 'x');
        taskring::send_event(step_of(0));
        // The rest of the ring; then as often as it is refused, until the future is gone; then without end.
        for (int gone = 0; gone < 1000;) {
            const auto sent = taskring::try_send_event(bytes);
            CHECK(sent || sent.status() == TASKRING_EVENTS_FULL);
            gone = sent ? gone + 1 : 0;
            if (!sent)
                std::this_thread::sleep_for(1ms);
        }
        std::FILE *file = std::fopen(("/tmp/taskring-events-cpp-" + std::to_string(pid)).c_str(), "w");
        CHECK(file != nullptr && std::fclose(file) == 0);
    });
    taskring::define(reads_another, [](number count, bool limited) {
        auto own = taskring::pool::current();
        auto other = own.submit(sends, count);
        auto events = other.events<step>();
        number n = 0;
        while (auto found = limited ? events.next_for(LIMIT) : events.next())
            CHECK(*found == step_of(n++));
        other.get();
        return n;
    });
    return run_cases(argc, argv, cases);
}
