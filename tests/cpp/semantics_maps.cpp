// Section M of the contract in C++, and what section S says of maps.
#include "board.hpp"

#include <fstream>
#include <functional>
#include <numeric>

namespace {

using taskring::map_options;

numbers up_to(number end) {
    numbers all(end);
    std::iota(all.begin(), all.end(), 1);
    return all;
}

/// The numbers from 1 on, without an end if none is said; counts how far they were read.
struct counted {
    struct iterator {
        number *read, last;
        number operator*() const { return ++*read; }
        iterator &operator++() { return *this; }
        bool operator!=(const iterator &) const { return *read < last; }
    };
    number *read, last = ~number{0};
    iterator begin() const { return {read, last}; }
    iterator end() const { return {read, last}; }
};

/// The results from the place `at` on are the squares of 1, 2, ... up to `end`.
template <class Results> void squares(Results &results, number at, number end) {
    for (; at < end; at++) {
        CHECK(results.next_for(LIMIT) == (at + 1) * (at + 1));
        CHECK(results.index() == at);
    }
}

template <class Results> taskring_status next_status(Results &results, std::chrono::milliseconds time = 0ms) {
    return results.try_next_for(time).status();
}

const taskring::task<number(number, number)> product{"product"};
/// Counts itself in cell 0, and gives its input. The one of 3 waits for cell 1, and fails.
const taskring::task<number(std::string, number)> third_waits_and_fails{"third_waits_and_fails"};

void define_more() {
    taskring::define(product, [](number a, number b) { return a * b; });
    taskring::define(third_waits_and_fails, [](std::string name, number x) {
        board::cell *cells = board::at(name);
        cells[0]++;
        if (x == 3) {
            until([&] { return cells[1] != 0; });
            throw std::runtime_error("the third");
        }
        return x;
    });
}

/// Inputs for tasks that take a board.
using on_board = std::vector<std::pair<std::string, number>>;

on_board numbered(const board &cells, number end) {
    on_board all;
    for (number x = 1; x <= end; x++)
        all.emplace_back(cells.name(), x);
    return all;
}

/// The numbers from 1 on, up to one at which something happens to whoever reads them.
struct input_that_ends {
    number last;
    std::function<void()> then;
    struct iterator {
        const input_that_ends *of;
        number at;
        std::pair<std::string, number> operator*() const {
            if (at > of->last)
                of->then();
            return {of->cells->name(), 2};
        }
        iterator &operator++() { return at++, *this; }
        bool operator!=(const iterator &) const { return at <= of->last + 1; }
    };
    const board *cells;
    iterator begin() const { return {this, 1}; }
    iterator end() const { return {this, 0}; }
};

void semantics_m1_inputs_of_several_parameters_end_with_their_range_and_none_give_nothing(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const numbers first{1, 2, 3, 4, 5}, second{10, 20, 30};
    std::vector<std::pair<number, number>> both;
    for (std::size_t i = 0; i < std::min(first.size(), second.size()); i++)
        both.emplace_back(first[i], second[i]);
    numbers found;
    for (const number one : pool.map(product, both))
        found.push_back(one);
    CHECK((found == numbers{10, 40, 90}));
    for (const number one : pool.map(square, numbers()))
        CHECK(one == 99);
}

void semantics_m2_all_of_the_input_is_submitted_at_the_call(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 16);
    auto running = busy(pool);
    const numbers inputs{2, 4, 6, 8};
    auto results = pool.map(square, inputs);
    CHECK(pool.stats().pending == 4 && next_status(results) == TASKRING_TIMED_OUT);
    running.cancel();
    // More than there are slots: the call waits for room.
    number read = 0;
    auto more = pool.map(square, counted{&read, 40});
    CHECK(read == 40);
    squares(more, 0, 4);
    for (number i = 0; i < 4; i++)
        CHECK(results.next() == 4 * (i + 1) * (i + 1));
}

void semantics_m3_results_come_in_input_order_and_errors_at_their_places(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const numbers inputs = up_to(30);
    auto results = pool.map(square, inputs);
    for (number i = 0; i < 30; i++) {
        if ((i + 1) % 10 == 5)
            CHECK(thrown<taskring::task_error>([&] { results.next(); }) == "an odd multiple of 5" && results.index() == i);
        else
            squares(results, i, i + 1);
    }
    CHECK(!results.next());
}

void semantics_m4_what_is_ready_is_given_after_the_time_and_then_it_is_over(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const numbers inputs{1, 2, waits, 4};
    const auto began = std::chrono::steady_clock::now();
    auto results = pool.map(square, inputs, map_options().timeout(20ms));
    until([&] {
        const auto stats = pool.stats();
        return stats.running == 1 && stats.unreleased == 2;
    });
    std::this_thread::sleep_until(began + 25ms);
    squares(results, 0, 2);
    thrown<taskring::timeout_error>([&] { results.next(); });
    CHECK(!results.next());
}

void semantics_s9_the_clock_of_a_map_starts_at_the_call(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const numbers inputs{waits};
    auto results = pool.map(square, inputs, map_options().timeout(500ms));
    std::this_thread::sleep_for(510ms);
    const auto asked = std::chrono::steady_clock::now();
    thrown<taskring::timeout_error>([&] { results.begin(); });
    CHECK(std::chrono::steady_clock::now() - asked < 480ms);
}

void semantics_m5_a_task_that_fails_ends_no_map_and_the_time_of_the_map_does(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const board cells;
    cells[1] = 1;
    const on_board inputs = numbered(cells, 6);
    auto some_fail = pool.map(third_waits_and_fails, inputs, map_options().window(2).chunk(2));
    for (number i = 0; i < 6; i++)
        CHECK(some_fail.try_next().status() == (i == 2 ? TASKRING_TASK_FAILED : TASKRING_OK) && some_fail.index() == i);
    CHECK(!some_fail.next());
    cells[0] = cells[1] = 0;
    // The one of 3 is held until the time is over; those after it are never begun.
    const on_board held{{cells.name(), 3}, {cells.name(), 1}, {cells.name(), 2}};
    auto timed = pool.map(third_waits_and_fails, held, map_options().timeout(30ms));
    until([&] { return cells[0] == 1; });
    thrown<taskring::timeout_error>([&] { timed.next(); });
    CHECK(!timed.next() && !timed.next());
    CHECK(pool.stats().pending == 0);
    cells[1] = 1;
    pool.shutdown(true, false);
    CHECK(cells[0] == 1);
}

void semantics_m6_results_dropped_after_a_look_cancel_the_rest_and_ones_never_looked_at_run(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const numbers inputs = up_to(20);
    for (const bool looked_at : {false, true}) {
        const auto before = pool.stats().finished;
        auto running = busy(pool);
        {
            auto results = pool.map(square, inputs);
            if (looked_at)
                CHECK(next_status(results, 1ms) == TASKRING_TIMED_OUT);
        }
        CHECK(pool.stats().pending == (looked_at ? 0u : 20u));
        running.cancel();
        running.get();
        until([&] { return pool.stats().finished == before + (looked_at ? 1 : 21); });
    }
}

void semantics_m7_a_window_of_0_is_the_default_and_reads_all(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    const numbers inputs = up_to(20);
    auto results = pool.map(square, inputs, map_options().window(0));
    CHECK(pool.stats().pending == 20);
    running.cancel();
    squares(results, 0, 4);
}

void semantics_m8_a_window_is_read_at_the_call_and_one_more_for_each_result(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    number read = 0;
    auto results = pool.map(square, counted{&read}, map_options().window(3));
    CHECK(read == 3);
    for (number i = 0; i < 4; i++) {
        squares(results, i, i + 1);
        CHECK(read == 3 + i + 1);
    }
    const numbers few{1, 2};
    auto short_of_it = pool.map(square, few, map_options().window(10));
    squares(short_of_it, 0, 2);
    CHECK(!short_of_it.next());
}

void semantics_m10_a_chunk_of_any_size_takes_any_input(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const numbers inputs = up_to(4);
    for (const number chunk : {0, 1, 3, 4, 1000}) {
        auto results = pool.map(square, inputs, map_options().chunk(chunk));
        squares(results, 0, 4);
        CHECK(!results.next());
    }
}

void semantics_m11_a_window_counts_chunks_and_an_error_costs_one_item(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    number read = 0;
    auto results = pool.map(square, counted{&read}, map_options().window(2).chunk(6));
    CHECK(read == 12);
    for (number i = 0; i < 20; i++) {
        if ((i + 1) % 10 == 5)
            CHECK(results.try_next().status() == TASKRING_TASK_FAILED && results.index() == i);
        else
            squares(results, i, i + 1);
    }
}

void semantics_m13_a_pool_that_refuses_throws_from_the_call_and_what_was_submitted_runs(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const board cells;
    auto set = pool.new_set();
    set.discard();
    number read = 0;
    CHECK(status_of([&] { pool.map(square, counted{&read}, map_options().submit(taskring::options(set))); }) == TASKRING_DISCARDED);
    // In the middle: the pool is shut down while the input is read.
    const input_that_ends inputs{6, [&] { pool.shutdown(false, false); }, &cells};
    thrown<taskring::shut_down_error>([&] { pool.map(count_in, inputs, map_options().window(9).chunk(2)); });
    pool.shutdown(true, false);
    CHECK(cells[2] == 6);
}

void semantics_m14_results_that_nobody_looked_at_run_also_when_they_are_dropped(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 128);
    const board cells;
    auto running = busy(pool);
    const on_board inputs(20, {cells.name(), 2});
    { pool.map(count_in, inputs, map_options().window(2).chunk(4)); }
    { pool.map(count_in, inputs, map_options().window(3).unordered()); }
    { pool.map(count_in, inputs); }
    const auto kept = pool.map(count_in, inputs, map_options().window(2));
    running.cancel();
    pool.shutdown(true, false);
    // The window of each, or all of it.
    CHECK(cells[2] == 8 + 3 + 20 + 2);
}

void semantics_s6_cancelling_results_stops_a_chunk_between_two_items(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    for (const bool dropped : {false, true}) {
        const board cells;
        const on_board inputs = numbered(cells, 20);
        std::optional<taskring::results<number>> results(pool.map(third_waits_and_fails, inputs, map_options().window(2).chunk(8)));
        until([&] { return cells[0] == 3; });
        if (dropped) {
            CHECK(next_status(*results) == TASKRING_TIMED_OUT);
            results.reset();
            cells[1] = 1;
        } else {
            results->cancel();
            cells[1] = 1;
            // Finished ones keep their results, and what was not read does not come.
            for (number i = 0; i < 16; i++)
                CHECK(results->try_next().status() == (i < 2 ? TASKRING_OK : i == 2 ? TASKRING_TASK_FAILED : TASKRING_CANCELLED));
            CHECK(!results->next());
        }
        CHECK(pool.submit(square, 6).get() == 36 && cells[0] == 3);
    }
}

void semantics_s7_a_failing_task_frees_its_place_and_an_input_that_throws_cancels_nothing(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const numbers odd(30, 5);
    auto all_fail = pool.map(square, odd, map_options().window(2));
    for (number i = 0; i < 30; i++)
        CHECK(all_fail.try_next().status() == TASKRING_TASK_FAILED && all_fail.index() == i);
    CHECK(!all_fail.next());
    const board cells;
    auto one = busy(pool), two = busy(pool);
    const input_that_ends inputs{6, [] { throw std::logic_error("the input"); }, &cells};
    // A whole chunk and a part of one.
    auto results = pool.map(count_in, inputs, map_options().window(3).chunk(4));
    CHECK(pool.submit(square, 6).state() == taskring::state::pending && !one.cancel() && !two.cancel());
    std::vector<bool> seen(6);
    for (number i = 0; i < 6; i++)
        seen.at(results.next().value()) = true;
    CHECK(seen == std::vector<bool>(6, true) && cells[2] == 6);
    CHECK(thrown<std::logic_error>([&] { results.next(); }) == "the input");
    CHECK(!results.next() && pool.submit(square, 6).get() == 36);
}

void semantics_s3_one_worker_gives_unordered_results_in_input_order(std::uint32_t kind) {
    // More inputs than slots: a lap over places that were taken.
    auto pool = make_pool(kind, 1, 8);
    const numbers inputs = up_to(60);
    auto results = pool.map(square, inputs, map_options().unordered().window(6));
    for (number i = 0; i < 60; i++) {
        const auto status = results.try_next().status();
        CHECK(results.index() == i && status == ((i + 1) % 10 == 5 ? TASKRING_TASK_FAILED : TASKRING_OK));
    }
}

void semantics_s5_after_a_time_out_the_next_call_may_succeed_with_chunks_of_any_size(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const numbers inputs = up_to(4);
    for (const number chunk : {1, 4, 7}) {
        auto running = busy(pool);
        auto results = pool.map(square, inputs, map_options().chunk(chunk));
        thrown<taskring::timeout_error>([&] { results.next_for(1ms); });
        CHECK(next_status(results) == TASKRING_TIMED_OUT);
        running.cancel();
        squares(results, 0, 4);
    }
}

const taskring::task<void(std::string)> append{"append"};

/// The same path again and again. The sixth time it shuts the pool down before.
struct closing {
    struct iterator {
        closing *it;
        const std::string &operator*() const {
            if (++it->read == 6)
                it->pool->shutdown(false, false);
            return it->path;
        }
        iterator &operator++() { return *this; }
        bool operator!=(const iterator &) const { return true; }
    };
    taskring::pool *pool;
    std::string path;
    int read = 0;
    iterator begin() { return {this}; }
    iterator end() { return {this}; }
};

void semantics_m13_what_was_submitted_before_the_pool_refuses_runs(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    closing inputs{&pool, "/tmp/taskring-m13-cpp-" + std::to_string(getpid())};
    thrown<taskring::shut_down_error>([&] { pool.map(append, inputs); });
    CHECK(inputs.read == 6);
    running.cancel();
    pool.shutdown(true, false);
    CHECK(std::ifstream(inputs.path, std::ios::ate).tellg() == 5);
    std::remove(inputs.path.c_str());
}

const semantics_case cases[] = {
    CASE(semantics_m1_inputs_of_several_parameters_end_with_their_range_and_none_give_nothing),
    CASE(semantics_m2_all_of_the_input_is_submitted_at_the_call),
    CASE(semantics_m3_results_come_in_input_order_and_errors_at_their_places),
    CASE(semantics_m4_what_is_ready_is_given_after_the_time_and_then_it_is_over),
    CASE(semantics_s9_the_clock_of_a_map_starts_at_the_call),
    CASE(semantics_m5_a_task_that_fails_ends_no_map_and_the_time_of_the_map_does),
    CASE(semantics_m6_results_dropped_after_a_look_cancel_the_rest_and_ones_never_looked_at_run),
    CASE(semantics_m7_a_window_of_0_is_the_default_and_reads_all),
    CASE(semantics_m8_a_window_is_read_at_the_call_and_one_more_for_each_result),
    CASE(semantics_m10_a_chunk_of_any_size_takes_any_input),
    CASE(semantics_m11_a_window_counts_chunks_and_an_error_costs_one_item),
    CASE(semantics_m13_what_was_submitted_before_the_pool_refuses_runs),
    CASE(semantics_m13_a_pool_that_refuses_throws_from_the_call_and_what_was_submitted_runs),
    CASE(semantics_m14_results_that_nobody_looked_at_run_also_when_they_are_dropped),
    CASE(semantics_s6_cancelling_results_stops_a_chunk_between_two_items),
    CASE(semantics_s7_a_failing_task_frees_its_place_and_an_input_that_throws_cancels_nothing),
    CASE(semantics_s3_one_worker_gives_unordered_results_in_input_order),
    CASE(semantics_s5_after_a_time_out_the_next_call_may_succeed_with_chunks_of_any_size),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(append, [](std::string path) { std::ofstream(path, std::ios::app).put('1'); });
    define_more();
    define_board_tasks();
    return run_cases(argc, argv, cases);
}
