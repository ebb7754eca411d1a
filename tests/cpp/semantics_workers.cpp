// The life of workers in C++: how many tasks each of them runs.
#include "semantics_shared.hpp"

#include <unistd.h>

namespace {

/// The thread that runs it, and its worker's number.
const taskring::task<std::pair<number, std::uint32_t>()> who{"who"};

taskring::pool limited(std::uint32_t kind, std::uint32_t workers, std::uint32_t tasks) {
    return taskring::pool(taskring::setup().max_tasks_per_worker(tasks).apply(make_config(kind, workers)));
}

void semantics_p4_a_number_of_tasks_below_1_is_refused(std::uint32_t kind) {
    CHECK(thrown<taskring::invalid_argument_error>([&] { limited(kind, 1, 0); }) == "max_tasks_per_worker is 0; wanted 1 to 4294967295");
    CHECK(limited(kind, 1, 4294967295).submit(square, 4).get() == 16);
}

void semantics_p5_a_worker_runs_its_tasks_and_another_one_comes_with_its_number(std::uint32_t kind) {
    auto pool = limited(kind, 1, 4);
    number before = 0;
    for (int round = 0; round < 4; round++) {
        std::pair<number, std::uint32_t> first;
        until([&] { return first = pool.submit(who).get(), first.first != before; });
        CHECK(first.second == 0);
        // That was the first of its four.
        for (int i = 1; i < 4; i++)
            CHECK(pool.submit(who).get() == first);
        before = first.first;
    }
}

void semantics_p6_the_end_of_a_scope_strands_no_task_while_workers_are_replaced(std::uint32_t kind) {
    std::vector<taskring::future<number>> all;
    {
        auto pool = limited(kind, 2, 1);
        for (number x = 0; x < 60; x += 2)
            all.push_back(pool.submit(square, x));
        for (std::size_t i = 0; i < all.size(); i++)
            CHECK(all[i].get_for(LIMIT) == 4 * i * i);
        all.clear();
        for (number x = 0; x < 30; x++)
            pool.submit(nap, 1);
    }
}

const semantics_case cases[] = {
    CASE(semantics_p4_a_number_of_tasks_below_1_is_refused),
    CASE(semantics_p5_a_worker_runs_its_tasks_and_another_one_comes_with_its_number),
    CASE(semantics_p6_the_end_of_a_scope_strands_no_task_while_workers_are_replaced),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(who, [] { return std::pair<number, std::uint32_t>(gettid(), taskring::worker_number().value()); });
    return run_cases(argc, argv, cases);
}
