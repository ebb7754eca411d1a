// Priorities in C++: which of the tasks that wait begin first, and that none waits for ever.
#include "semantics_shared.hpp"

#include <algorithm>
#include <numeric>

namespace {

/// When it ran: with one worker no two tasks at the same time.
const taskring::task<number(number)> when{"when"};

using taskring::priority;

taskring::options of(priority level) { return taskring::options().priority(level); }

std::vector<taskring::future<number>> submit_all(taskring::pool &pool, priority level, std::size_t count) {
    std::vector<taskring::future<number>> all;
    for (std::size_t i = 0; i < count; i++)
        all.push_back(pool.submit(of(level), when, i));
    return all;
}

/// In the order of the submits, which that of the times must be.
numbers times_of(std::vector<taskring::future<number>> &all) {
    numbers times;
    for (auto &one : all)
        times.push_back(one.get_for(LIMIT));
    CHECK(std::is_sorted(times.begin(), times.end()));
    return times;
}

void semantics_order_a_higher_level_begins_first_and_each_in_its_order(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto low = submit_all(pool, priority::low, 5), normal = submit_all(pool, priority::normal, 5), high = submit_all(pool, priority::high, 5);
    auto plain = pool.submit(when, 7);
    running.cancel();
    const auto first = times_of(high), second = times_of(normal), third = times_of(low);
    CHECK(first.back() < second.front() && second.back() < plain.get() && second.back() < third.front());
}

void semantics_order_after_sixteen_of_higher_levels_comes_a_lower_one(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 128);
    auto running = busy(pool);
    auto low = submit_all(pool, priority::low, 3), high = submit_all(pool, priority::high, 70);
    running.cancel();
    const auto all = times_of(high), waited = times_of(low);
    const auto before = [&](number time) { return std::count_if(all.begin(), all.end(), [&](number other) { return other < time; }); };
    CHECK(before(waited[0]) >= 1 && before(waited[0]) <= 16);
    CHECK(before(waited[1]) - before(waited[0]) == 16 && before(waited[2]) - before(waited[1]) == 16);
}

void semantics_order_a_map_and_a_set_have_the_level_of_their_options(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto running = busy(pool);
    auto normal = submit_all(pool, priority::normal, 5);
    const numbers inputs(6);
    auto mapped = pool.map(when, inputs, taskring::map_options().submit(of(priority::high)));
    auto set = pool.new_set();
    auto discarded = pool.submit(of(priority::low).set(set), when, 1);
    CHECK(set.discard().cancelled == 1);
    running.cancel();
    numbers times;
    for (number time : mapped)
        times.push_back(time);
    CHECK(times.size() == 6 && times.back() < times_of(normal).front());
    thrown<taskring::cancelled_error>([&] { discarded.get(); });
}

void semantics_order_a_level_whose_ring_is_full_leaves_room_in_the_others(std::uint32_t kind) {
    auto pool = make_pool(kind, 1, 4);
    auto running = busy(pool);
    auto low = submit_all(pool, priority::low, 4);
    CHECK(pool.try_submit(of(priority::low), when, 1).status() == TASKRING_FULL);
    auto high = submit_all(pool, priority::high, 4);
    CHECK(pool.try_submit_for(20ms, of(priority::high), when, 1).status() == TASKRING_TIMED_OUT);
    running.cancel();
    CHECK(times_of(high).back() < times_of(low).front());
}

void semantics_order_a_level_that_there_is_not_is_refused(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const auto wrong = static_cast<priority>(5);
    const std::string said = thrown<taskring::invalid_argument_error>([&] { pool.submit(of(wrong), when, 1); });
    CHECK(said.find("priority is 5; wanted TASKRING_PRIORITY_NORMAL, TASKRING_PRIORITY_HIGH or TASKRING_PRIORITY_LOW") != std::string::npos);
    CHECK(pool.submit(square, 6).get() == 36);
}

const semantics_case cases[] = {
    CASE(semantics_order_a_higher_level_begins_first_and_each_in_its_order),
    CASE(semantics_order_after_sixteen_of_higher_levels_comes_a_lower_one),
    CASE(semantics_order_a_map_and_a_set_have_the_level_of_their_options),
    CASE(semantics_order_a_level_whose_ring_is_full_leaves_room_in_the_others),
    CASE(semantics_order_a_level_that_there_is_not_is_refused),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(when, [](number) {
        return static_cast<number>(std::chrono::steady_clock::now().time_since_epoch().count());
    });
    return run_cases(argc, argv, cases);
}
