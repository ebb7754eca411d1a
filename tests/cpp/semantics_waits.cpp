// Sections W and A of the contract in C++: wait and as_completed.
#include "semantics_shared.hpp"

#include <atomic>

namespace {

using taskring::when;
using futures = std::vector<taskring::future<number>>;

template <class... F> futures list_of(F &&...some) {
    futures all;
    (all.push_back(std::forward<F>(some)), ...);
    return all;
}

/// Which of them are over, as a string of 0 and 1.
template <class Futures> std::string told(const Futures &all, const taskring::waited &found) {
    std::string text(all.size(), '?');
    for (const std::size_t i : found.done)
        text.at(i) = '1';
    for (const std::size_t i : found.not_done)
        text.at(i) = '0';
    CHECK(found.done.size() + found.not_done.size() == all.size());
    return text;
}

taskring::future<number> good(taskring::pool &pool) { return pool.submit(square, 3); }
taskring::future<number> failing(taskring::pool &pool) { return pool.submit(square, 5); }
taskring::future<number> cancelled(taskring::pool &pool) {
    for (;;) { // Unless a worker was faster.
        auto one = good(pool);
        if (one.cancel())
            return one;
    }
}

void semantics_w1_one_given_twice_is_told_of_twice_in_the_order_given(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const auto slow = busy_number(pool), done = good(pool);
    done.wait();
    const std::vector<taskring_future> all{done.handle(), slow.handle(), done.handle(), slow.handle()};
    const auto found = taskring::wait(all, when::first_completed);
    CHECK((found.done == std::vector<std::size_t>{0, 2}) && (found.not_done == std::vector<std::size_t>{1, 3}));
    slow.cancel();
    CHECK(told(all, taskring::wait(all, LIMIT)) == "1111");
}

void semantics_w2_nothing_to_wait_for_is_over_at_once_whatever_for(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    for (std::uint32_t condition = 0; condition < 5; condition++) {
        const auto found = taskring::wait(futures(), static_cast<when>(condition));
        CHECK(found.done.empty() && found.not_done.empty());
    }
}

void semantics_w3_one_that_is_over_already_ends_the_wait_for_the_first(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const auto all = list_of(busy_number(pool), good(pool));
    all[1].wait();
    CHECK(told(all, taskring::wait(all, 0ms, when::first_completed)) == "01");
    CHECK(told(all, taskring::wait(all, when::first_completed)) == "01");
    all[0].cancel();
}

void semantics_w4_the_first_failure_ends_the_wait_and_cancelling_is_none(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    auto all = list_of(busy_number(pool), cancelled(pool), good(pool));
    all[2].wait();
    CHECK(told(all, taskring::wait(all, 2ms, when::first_exception)) == "011");
    all.push_back(failing(pool));
    CHECK(told(all, taskring::wait(all, LIMIT, when::first_exception)) == "0111");
    CHECK(told(all, taskring::wait(all, 0ms, when::first_exception)) == "0111");
    all.pop_back();
    all[0].cancel();
    CHECK(told(all, taskring::wait(all, LIMIT, when::first_exception)) == "111"); // None fails: all.
}

void semantics_w5_all_are_waited_for_however_they_end(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const auto all = list_of(busy_number(pool), cancelled(pool), failing(pool), good(pool));
    all[2].wait();
    all[3].wait();
    CHECK(told(all, taskring::wait(all, 1ms)) == "0111");
    all[0].cancel();
    CHECK(told(all, taskring::wait(all)) == "1111");
}

void semantics_w6_a_time_out_tells_what_is_over_by_then(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const auto all = list_of(busy_number(pool), good(pool));
    all[1].wait();
    CHECK(told(all, taskring::wait(all, 2ms)) == "01" && told(all, taskring::wait(all, 0ms)) == "01");
    CHECK(told(all, taskring::wait(all, -1s)) == "01");
    all[0].cancel();
}

void semantics_w7_what_is_no_condition_is_refused(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    const auto all = list_of(good(pool));
    const auto said = thrown<taskring::invalid_argument_error>([&] { taskring::wait(all, static_cast<when>(3)); });
    CHECK(said.find("when is 3") != std::string::npos);
}

void semantics_w8_no_end_is_missed_while_the_wait_begins(std::uint32_t kind) {
    auto pool = make_pool(kind, 2, 256);
    for (int round = 0; round < 5; round++) {
        futures all;
        for (int i = 0; i < 100; i++)
            all.push_back(good(pool));
        CHECK(taskring::wait(all, LIMIT).done.size() == 100);
    }
}

void semantics_w9_two_threads_wait_for_the_same_futures(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    futures all;
    all.push_back(busy_number(pool));
    for (int i = 0; i < 19; i++)
        all.push_back(good(pool));
    std::vector<taskring_future> forth, back;
    for (const auto &one : all)
        forth.push_back(one.handle());
    back.assign(forth.rbegin(), forth.rend());
    std::vector<std::thread> threads;
    for (const auto *handles : {&forth, &back})
        threads.emplace_back([handles] { CHECK(taskring::wait(*handles, LIMIT).done.size() == 20); });
    all[0].cancel();
    for (auto &thread : threads)
        thread.join();
}

void semantics_w10_all_that_are_over_are_told_and_not_the_first_alone(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    const auto all = list_of(good(pool), busy_number(pool), failing(pool), cancelled(pool));
    all[0].wait();
    all[2].wait();
    CHECK(told(all, taskring::wait(all, LIMIT, when::first_completed)) == "1011");
    all[1].cancel();
}

void semantics_w11_one_wait_takes_futures_of_pools_of_several_kinds(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    taskring::thread_pool threads(make_config(TASKRING_THREAD, 1));
    std::atomic<bool> open{false};
    const auto of_pool = busy(pool);
    auto of_threads = threads.submit([&open] {
        until([&open] { return open.load(); });
        return 7;
    });
    // Of several types as well.
    const std::vector<taskring_future> all{of_pool.handle(), of_threads.handle()};
    CHECK(told(all, taskring::wait(all, 1ms, when::first_completed)) == "00");
    open = true;
    CHECK(told(all, taskring::wait(all, LIMIT, when::first_completed)) == "01" && of_threads.get() == 7);
    of_pool.cancel();
    CHECK(taskring::wait(std::vector<taskring_future>{of_pool.handle()}).done.size() == 1);
}

void semantics_a1_each_comes_once(std::uint32_t kind) {
    auto pool = make_pool(kind, 2);
    futures all;
    for (int i = 0; i < 20; i++)
        all.push_back(i % 3 == 0 ? failing(pool) : good(pool));
    std::vector<int> seen(20);
    for (auto &[index, one] : taskring::as_completed(all)) {
        CHECK(&one == &all[index] && one.done());
        seen[index]++;
    }
    CHECK(seen == std::vector<int>(20, 1));
    futures none;
    for (auto &one : taskring::as_completed(none))
        CHECK(one.index == 99);
}

void semantics_a2_what_is_over_comes_first_and_the_rest_as_it_ends(std::uint32_t kind) {
    auto pool = make_pool(kind, 3);
    auto all = list_of(busy_number(pool), busy_number(pool), good(pool));
    all[2].wait();
    std::string order;
    for (auto &one : taskring::as_completed(all, LIMIT)) {
        order += std::to_string(one.index);
        if (one.index != 0)
            all[one.index == 2 ? 1 : 0].cancel();
    }
    CHECK(order == "210");
}

void semantics_a3_what_is_over_comes_before_the_time_out_which_says_how_many_are_left(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto all = list_of(good(pool), good(pool));
    all[1].wait();
    all.push_back(busy_number(pool));
    all.push_back(good(pool));
    for (const auto time : {0ms, 2ms}) {
        std::size_t seen = 0;
        CHECK(thrown<taskring::timeout_error>([&] {
                  for (auto &one : taskring::as_completed(all, time))
                      seen += one.index < 2;
              }) == "2 (of 4) futures unfinished");
        CHECK(seen == 2);
    }
    all[2].cancel();
}

void semantics_a5_the_clock_starts_at_the_call(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto all = list_of(busy_number(pool));
    auto range = taskring::as_completed(all, 500ms);
    std::this_thread::sleep_for(510ms);
    const auto asked = std::chrono::steady_clock::now();
    thrown<taskring::timeout_error>([&] { range.begin(); });
    CHECK(std::chrono::steady_clock::now() - asked < 480ms);
    all[0].cancel();
}

void semantics_a6_what_is_given_up_lets_its_tasks_run(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    auto first = good(pool);
    first.wait();
    auto all = list_of(std::move(first), busy_number(pool), good(pool));
    for (auto &one : taskring::as_completed(all)) {
        CHECK(one.index == 0);
        break;
    }
    all[1].cancel();
    CHECK(all[2].get() == 9 && all[0].get() == 9);
}

void semantics_a7_futures_of_pools_of_several_kinds_come_out_of_one(std::uint32_t kind) {
    auto pool = make_pool(kind, 1), threads = make_pool(TASKRING_THREAD, 1);
    auto all = list_of(busy_number(pool), busy_number(threads));
    all[1].cancel();
    std::string order;
    for (auto &one : taskring::as_completed(all, LIMIT)) {
        order += std::to_string(one.index);
        all[0].cancel();
    }
    CHECK(order == "10");
}

const semantics_case cases[] = {
    CASE(semantics_w1_one_given_twice_is_told_of_twice_in_the_order_given),
    CASE(semantics_w2_nothing_to_wait_for_is_over_at_once_whatever_for),
    CASE(semantics_w3_one_that_is_over_already_ends_the_wait_for_the_first),
    CASE(semantics_w4_the_first_failure_ends_the_wait_and_cancelling_is_none),
    CASE(semantics_w5_all_are_waited_for_however_they_end),
    CASE(semantics_w6_a_time_out_tells_what_is_over_by_then),
    CASE(semantics_w7_what_is_no_condition_is_refused),
    CASE(semantics_w8_no_end_is_missed_while_the_wait_begins),
    CASE(semantics_w9_two_threads_wait_for_the_same_futures),
    CASE(semantics_w10_all_that_are_over_are_told_and_not_the_first_alone),
    CASE(semantics_w11_one_wait_takes_futures_of_pools_of_several_kinds),
    CASE(semantics_a1_each_comes_once),
    CASE(semantics_a2_what_is_over_comes_first_and_the_rest_as_it_ends),
    CASE(semantics_a3_what_is_over_comes_before_the_time_out_which_says_how_many_are_left),
    CASE(semantics_a5_the_clock_starts_at_the_call),
    CASE(semantics_a6_what_is_given_up_lets_its_tasks_run),
    CASE(semantics_a7_futures_of_pools_of_several_kinds_come_out_of_one),
};

} // namespace

int main(int argc, char **argv) { return run_cases(argc, argv, cases); }
