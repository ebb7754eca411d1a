// Sets in C++: tasks that are discarded in one call, after which none of them begins and everything else goes on.
#include "board.hpp"

#include <array>
#include <optional>

namespace {

using futures = std::vector<taskring::future<number>>;
using clock_type = std::chrono::steady_clock;

/// Tells when it began, and then takes so many microseconds.
const taskring::task<number(number)> when_begun{"when_begun"};
/// Those behind the first 200 wait until the first cell is set.
const taskring::task<number(std::string, number)> after_200{"after_200"};
/// As `hold`. Whether it was asked to stop by then.
const taskring::task<bool(std::string, number)> hold_unless_asked{"hold_unless_asked"};

number now_ns() { return static_cast<number>(clock_type::now().time_since_epoch().count()); }

bool is_found(const taskring_discarded &found, number cancelled, number running, number done) {
    return found.cancelled == cancelled && found.running == running && found.done == done;
}

/// Tasks of a set, which count themselves in a cell.
futures fill(taskring::pool &pool, const taskring::task_set &set, const board &cells, number cell, int count) {
    futures all;
    for (int i = 0; i < count; i++)
        all.push_back(pool.submit(set, count_in, cells.name(), cell));
    return all;
}

void are_cancelled(futures &all) {
    for (auto &one : all) {
        CHECK(one.state() == taskring::state::cancelled);
        thrown<taskring::cancelled_error>([&] { one.get(); });
    }
}

/// The result, if it was not cancelled.
std::optional<number> result_of(taskring::future<number> &one) {
    try {
        return one.get_for(LIMIT);
    } catch (const taskring::cancelled_error &) {
        return std::nullopt;
    }
}

/// How long it takes until everybody who waits for tasks of a discarded set has been told.
clock_type::duration told_after(taskring::pool &pool, const board &cells) {
    auto set = pool.new_set();
    auto awaited = fill(pool, set, cells, 0, 5), listed = fill(pool, set, cells, 0, 5), streamed = fill(pool, set, cells, 0, 5),
         watched = fill(pool, set, cells, 0, 5);
    std::atomic<int> called{0}, ready{0};
    for (auto &one : watched)
        one.on_done([&] { called++; });
    std::thread first([&] {
        ready++;
        thrown<taskring::cancelled_error>([&] { awaited.back().get(); });
    });
    std::thread second([&] {
        ready++;
        CHECK(taskring::wait(listed).done.size() == 5);
    });
    std::thread third([&] {
        ready++;
        int count = 0;
        for (auto &entry : taskring::as_completed(streamed)) {
            thrown<taskring::cancelled_error>([&] { entry.future.get(); });
            count++;
        }
        CHECK(count == 5);
    });
    until([&] { return ready == 3; });
    // They sleep by then until something wakes them; without that they look again only after a second.
    std::this_thread::sleep_for(60ms);
    const auto start = clock_type::now();
    CHECK(is_found(set.discard(), 20, 0, 0));
    first.join();
    second.join();
    third.join();
    until([&] { return called == 5; });
    const auto time = clock_type::now() - start;
    awaited.pop_back();
    are_cancelled(awaited);
    are_cancelled(listed);
    are_cancelled(watched);
    return time;
}

void semantics_discard_cancels_what_is_pending_and_whoever_waits_is_told(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    const board cells;
    for (int late = 0; told_after(pool, cells) > 300ms; late++)
        CHECK(late < 15);
    running.cancel();
    pool.shutdown(true, false);
    CHECK(cells[0] == 0);
}

void semantics_discard_lets_what_runs_go_on_to_its_end_and_counts_it_until_then(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    auto set = pool.new_set();
    const board cells;
    auto over = fill(pool, set, cells, 4, 7);
    for (auto &one : over)
        one.wait();
    auto one = pool.submit(set, hold_unless_asked, cells.name(), 0);
    auto other = pool.submit(set, until_asked);
    until([&] { return cells[0] == 1; });
    until_running(other);
    auto pending = fill(pool, set, cells, 5, 1);
    CHECK(is_found(set.discard(), 1, 2, 7) && is_found(set.discard(), 0, 2, 7));
    are_cancelled(pending);
    CHECK(one.state() == taskring::state::running && other.state() == taskring::state::running);
    cells[1] = 1;
    // A discard asks nobody to stop; a task of the set can be asked as any other.
    CHECK(!one.get_for(LIMIT) && is_found(set.discard(), 0, 1, 8));
    CHECK(!other.cancel());
    other.get_for(LIMIT);
    CHECK(is_found(set.discard(), 0, 0, 9));
    for (auto &each : over)
        CHECK(each.get() < 7);
    CHECK(cells[4] == 7 && cells[5] == 0);
}

void semantics_discard_leaves_other_sets_and_tasks_without_one_alone(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 128);
    auto running = busy(pool);
    const board cells;
    auto first = pool.new_set(), second = pool.new_set();
    futures kept;
    for (int i = 0; i < 30; i++) {
        fill(pool, first, cells, 0, 1);
        kept.push_back(pool.submit(second, count_in, cells.name(), 1));
        kept.push_back(pool.submit(count_in, cells.name(), 2));
    }
    CHECK(is_found(first.discard(), 30, 0, 0));
    running.cancel();
    for (auto &one : kept)
        one.get_for(LIMIT);
    pool.shutdown(true, false);
    CHECK(is_found(second.discard(), 0, 0, 30));
    CHECK(cells[0] == 0 && cells[1] == 30 && cells[2] == 30);
}

void semantics_discard_after_200_of_1000_and_a_second_set_runs(std::uint32_t kind) {
    auto pool = make_pool(kind, 2, 1024);
    const board cells;
    auto first = pool.new_set(), second = pool.new_set();
    futures all, later;
    for (number x = 0; x < 1000; x++)
        all.push_back(pool.submit(first, after_200, cells.name(), x));
    taskring_discarded found{};
    number seen = 0, ran = 0;
    for (auto &entry : taskring::as_completed(all)) {
        const auto result = result_of(entry.future);
        CHECK(result ? (*result < 200) == (seen < 200) : seen >= 200);
        ran += result.has_value();
        if (++seen != 200)
            continue;
        found = first.discard();
        CHECK(found.cancelled + found.running == 800 && found.running <= 2 && found.done == 200);
        for (number x = 0; x < 1000; x++)
            later.push_back(pool.submit(second, count_in, cells.name(), 1));
        cells[0] = 1;
    }
    CHECK(seen == 1000 && ran == 200 + found.running);
    for (auto &one : later)
        one.get_for(LIMIT);
    CHECK(is_found(second.discard(), 0, 0, 1000) && cells[1] == 1000);
}

/// In each way in which a task can be submitted.
void is_refused(taskring::pool &pool, const taskring::task_set &set) {
    const taskring::options of(set);
    const numbers inputs{1, 2};
    const auto refuses = [](auto submit) { CHECK(status_of(submit) == TASKRING_DISCARDED); };
    refuses([&] { pool.submit(set, square, 2); });
    refuses([&] { pool.submit_bulk(of, square, inputs); });
    refuses([&] { pool.broadcast(of, square, 2); });
    refuses([&] { pool.map(square, inputs, taskring::map_options().submit(of)); });
    CHECK(pool.try_submit(of, square, 2).status() == TASKRING_DISCARDED);
    CHECK(pool.try_submit_for(1s, of, square, 2).status() == TASKRING_DISCARDED);
}

void semantics_discard_takes_no_more_tasks_and_the_pool_does(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    std::vector<taskring::task_set> sets;
    // Sets that come later are others, wherever they lie.
    for (number x = 0; x < 5; x++) {
        sets.push_back(pool.new_set());
        CHECK(pool.submit(sets.back(), square, x).get() == x * x && is_found(sets.back().discard(), 0, 0, 1));
        for (const auto &set : sets)
            is_refused(pool, set);
        CHECK(pool.submit(square, x).get() == x * x);
        if (x == 2)
            sets.pop_back();
    }
}

/// Submits to a set until it refuses.
void feed(taskring::pool &pool, const taskring::task_set &set, futures &all) {
    try {
        for (;;)
            all.push_back(pool.submit(set, when_begun, 20u));
    } catch (const taskring::error &e) {
        CHECK(e.status() == TASKRING_DISCARDED);
    }
}

void semantics_discard_no_task_begins_afterwards_while_threads_feed_the_set(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    for (int round = 0; round < 30; round++) {
        auto set = pool.new_set();
        std::array<futures, 2> all;
        std::thread one([&] { feed(pool, set, all[0]); }), other([&] { feed(pool, set, all[1]); });
        std::this_thread::sleep_for(std::chrono::microseconds(500 + 137 * (round % 16)));
        const auto found = set.discard();
        const number discarded = now_ns();
        one.join();
        other.join();
        number ran = 0, late = 0;
        for (auto &fed : all)
            for (auto &task : fed)
                if (const auto begun = result_of(task)) {
                    ran++;
                    late += *begun > discarded;
                }
        const number submitted = all[0].size() + all[1].size(), counted = found.cancelled + found.running + found.done;
        // A worker has decided to run what is counted as running, and may enter its function a moment later.
        CHECK(late <= found.running && found.running <= 2);
        // Of what each thread was just submitting, some may not be counted.
        CHECK(counted <= submitted && submitted <= counted + 2);
        CHECK(found.done <= ran && ran <= found.done + found.running + 2);
        const auto after = set.discard();
        CHECK(after.cancelled == 0 && after.running == 0);
        is_refused(pool, set);
        CHECK(pool.submit(square, 7).get() == 49);
    }
}

void semantics_discard_by_several_threads_counts_each_task_once(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 128);
    auto running = busy(pool);
    const board cells;
    for (int round = 0; round < 20; round++) {
        auto set = pool.new_set();
        auto all = fill(pool, set, cells, 0, 100);
        std::atomic<number> cancelled{0}, ready{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; i++)
            threads.emplace_back([&] {
                for (ready++; ready < 3;)
                    std::this_thread::yield();
                cancelled += set.discard().cancelled;
            });
        for (auto &thread : threads)
            thread.join();
        CHECK(cancelled == 100);
        are_cancelled(all);
    }
    running.cancel();
    pool.shutdown(true, false);
    CHECK(cells[0] == 0);
}

void semantics_discard_is_what_stops_a_set_and_the_end_of_its_scope_is_not(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    const board cells;
    futures all;
    {
        const auto set = pool.new_set();
        all = fill(pool, set, cells, 0, 20);
    }
    // Ones that take its place are not taken for it.
    for (int i = 0; i < 3; i++)
        CHECK(is_found(pool.new_set().discard(), 0, 0, 0));
    running.cancel();
    for (auto &one : all)
        CHECK(one.get_for(LIMIT) < 20);
    CHECK(cells[0] == 20);
}

void semantics_discard_a_set_is_of_the_handle_that_made_it(std::uint32_t kind) {
    const auto name = "cpp-sets-" + std::to_string(getpid());
    auto pool = taskring::pool::create_named(name, make_config(kind, 1));
    auto running = busy(pool);
    auto guest = taskring::pool::attach(name);
    auto set = pool.new_set(), by_guest = guest.new_set();
    auto pending = pool.submit(set, square, 6), kept = guest.submit(by_guest, square, 6);
    thrown<taskring::invalid_argument_error>([&] { guest.submit(set, square, 6); });
    thrown<taskring::invalid_argument_error>([&] { pool.submit(by_guest, square, 6); });
    CHECK(is_found(set.discard(), 1, 0, 0));
    thrown<taskring::cancelled_error>([&] { pending.get_for(LIMIT); });
    running.cancel();
    CHECK(kept.get_for(LIMIT) == 36 && is_found(by_guest.discard(), 0, 0, 1));
}

const semantics_case cases[] = {
    CASE(semantics_discard_cancels_what_is_pending_and_whoever_waits_is_told),
    CASE(semantics_discard_lets_what_runs_go_on_to_its_end_and_counts_it_until_then),
    CASE(semantics_discard_leaves_other_sets_and_tasks_without_one_alone),
    CASE(semantics_discard_after_200_of_1000_and_a_second_set_runs),
    CASE(semantics_discard_takes_no_more_tasks_and_the_pool_does),
    CASE(semantics_discard_no_task_begins_afterwards_while_threads_feed_the_set),
    CASE(semantics_discard_by_several_threads_counts_each_task_once),
    CASE(semantics_discard_is_what_stops_a_set_and_the_end_of_its_scope_is_not),
    CASE(semantics_discard_a_set_is_of_the_handle_that_made_it),
};

} // namespace

int main(int argc, char **argv) {
    define_board_tasks();
    taskring::define(when_begun, [](number us) {
        const number begun = now_ns();
        while (now_ns() < begun + us * 1000) {
        }
        return begun;
    });
    taskring::define(after_200, [](std::string name, number x) {
        until([&] { return x < 200 || board::at(name)[0] != 0; });
        return x;
    });
    taskring::define(hold_unless_asked, [](std::string name, number cell) {
        count_and_wait(name, cell);
        return taskring::cancel_requested();
    });
    return run_cases(argc, argv, cases);
}
