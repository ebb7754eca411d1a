// What workers are given in C++, rows P21, P22, S1 and T3 of the contract: initializer, exit hook, names and numbers, environment, CPUs, memory, shared values.
#include "board.hpp"

#include <cstdlib>
#include <fstream>
#include <sched.h>

namespace {

using cpu_list = std::vector<std::uint32_t>;

/// Counts itself in cell 0, and leaves a desk.
const taskring::task<void(std::string, std::string, number)> set_up{"set_up"};
/// Counts itself in cell 1, if there is a desk.
const taskring::task<void(std::string)> tidy_up{"tidy_up"};
const taskring::task<std::string()> ask_desk{"ask_desk"}, who{"who"};
/// Counts itself in cell 0, and fails when cell 1 is set.
const taskring::task<void(std::string)> fail_when_told{"fail_when_told"};
const taskring::task<std::string(std::string)> variable{"variable"};
/// Its worker's number, and the CPUs that it may run on.
const taskring::task<std::pair<std::uint32_t, cpu_list>()> place{"place"};
const taskring::task<void(number)> fill{"fill"};
const taskring::task<pid_t()> own_pid{"own_pid"};
/// Of a shared value: its bytes, where it lies, and whether that is in a pool's memory.
const taskring::task<std::tuple<std::string, number, bool>(std::string)> look{"look"};

/// What the initializer leaves: each thread of a program has its own.
thread_local std::string desk;

cpu_list own_cpus() {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    cpu_list all;
    for (std::uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            all.push_back(cpu);
    return all;
}

number address_of(std::string_view bytes) { return reinterpret_cast<std::uintptr_t>(bytes.data()); }

bool is_in_a_pool(std::string_view bytes) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long from = 0, to = 0;
        CHECK(std::sscanf(line.c_str(), "%lx-%lx", &from, &to) == 2);
        if (from <= address_of(bytes) && address_of(bytes) < to)
            return line.find("taskring") != std::string::npos;
    }
    return false;
}

void define_more() {
    taskring::define(set_up, [](std::string name, std::string what, number times) {
        board::at(name)[0]++;
        desk.clear(); // A forked worker has what this process had.
        for (number i = 0; i < times; i++)
            desk += what;
    });
    taskring::define(tidy_up, [](std::string name) { board::at(name)[1] += !std::exchange(desk, "").empty(); });
    taskring::define(ask_desk, [] { return desk; });
    taskring::define(who, [] { return taskring::worker_name() + "|" + std::to_string(taskring::worker_number().value()); });
    taskring::define(fail_when_told, [](std::string name) {
        count_and_wait(name, 0);
        throw std::runtime_error("no desk anywhere");
    });
    taskring::define(variable, [](std::string name) {
        const char *found = std::getenv(name.c_str());
        return std::string(found == nullptr ? "none" : found);
    });
    taskring::define(place, [] {
        std::this_thread::sleep_for(1ms); // So that the others come to some.
        return std::pair(taskring::worker_number().value(), own_cpus());
    });
    taskring::define(fill, [](number bytes) { std::string(bytes, 'x'); });
    taskring::define(own_pid, [] { return getpid(); });
    taskring::define(look, [](std::string name) {
        const auto found = taskring::shared(name);
        return std::tuple(std::string(found), address_of(found), is_in_a_pool(found));
    });
}

/// Kills the only worker's process, and waits for another one.
void replace_worker(taskring::pool &pool) {
    const pid_t before = pool.submit(own_pid).get();
    CHECK(kill(before, SIGKILL) == 0);
    until([&] { // A task may be lost with it.
        const auto found = pool.submit(taskring::options().idempotent(), own_pid).get_for(LIMIT);
        return found != before;
    });
}

bool is_refused(std::uint32_t kind, taskring::setup &wrong) {
    return status_of([&] { taskring::pool none(wrong.apply(make_config(kind, 1))); }) == TASKRING_INVALID_ARGUMENT;
}

void semantics_p21_an_initializer_that_throws_breaks_the_pool_and_leaves_nothing_behind(std::uint32_t kind) {
    const board cells;
    {
        taskring::setup made;
        taskring::pool pool(made.initializer(fail_when_told, cells.name()).apply(make_config(kind, 2)));
        auto first = pool.submit(square, 4), second = pool.submit(square, 4);
        until([&] { return cells[0] == 2; });
        cells[1] = 1;
        for (auto *pending : {&first, &second}) {
            const auto text = thrown<taskring::broken_executor>([&] { pending->get_for(LIMIT); });
            CHECK(text.find("fail_when_told") != std::string::npos && text.find("no desk anywhere") != std::string::npos);
        }
        CHECK(thrown<taskring::broken_executor>([&] { pool.submit(square, 4); }).find("no desk anywhere") != std::string::npos);
        pool.shutdown(true, false);
    }
    CHECK(cells[0] == 2); // Nobody was started again.
    until_childless();
}

void semantics_p22_workers_begin_with_their_initializer_and_leave_with_their_hook(std::uint32_t kind) {
    const board cells;
    {
        taskring::setup made;
        made.initializer(set_up, cells.name(), "ab", 3).exit_hook(tidy_up, cells.name());
        taskring::pool pool(made.apply(make_config(kind, 2)));
        for (int i = 0; i < 20; i++)
            CHECK(pool.submit(ask_desk).get() == "ababab");
        until([&] { return cells[0] == 2; });
        CHECK(cells[1] == 0 && desk.empty());
    }
    CHECK(cells[0] == 2 && cells[1] == 2);
}

void semantics_p22_who_takes_a_killed_workers_place_has_an_initializer_and_the_killed_one_no_hook(std::uint32_t kind) {
    const board cells;
    {
        taskring::setup made;
        made.initializer(set_up, cells.name(), "ab", 1).exit_hook(tidy_up, cells.name());
        taskring::pool pool(made.apply(make_config(kind, 1)));
        // Nobody can kill a thread: there it is one worker.
        if (!in_threads(kind))
            replace_worker(pool);
        CHECK(pool.submit(ask_desk).get() == "ab");
    }
    CHECK(cells[0] == (in_threads(kind) ? 1 : 2) && cells[1] == 1);
}

void semantics_p22_worker_processes_have_their_environment_and_threads_are_refused_one(std::uint32_t kind) {
    taskring::setup made;
    made.env("SETUP_A", "first").env("SETUP_B", "").env("SETUP_A", "a=b");
    CHECK(is_refused(kind, taskring::setup().env("", "x")));
    if (in_threads(kind)) {
        CHECK(is_refused(kind, made));
        return;
    }
    taskring::pool pool(made.apply(make_config(kind, 1)));
    const auto have_it = [&] {
        return pool.submit(variable, "SETUP_A").get() == "a=b" && pool.submit(variable, "SETUP_B").get().empty() &&
               pool.submit(variable, "PATH").get() == std::getenv("PATH");
    };
    CHECK(have_it());
    replace_worker(pool);
    CHECK(have_it() && std::getenv("SETUP_A") == nullptr);
}

void semantics_p22_each_worker_runs_on_the_cpu_of_its_place(std::uint32_t kind) {
    // What would be no more than the default is refused where it is said.
    CHECK(status_of([] { taskring::setup().names(""); }) == TASKRING_INVALID_ARGUMENT);
    CHECK(thrown<taskring::invalid_argument_error>([] { taskring::setup().memory_max(0); }) == "worker_memory_max is 0; wanted at least 1");
    CHECK(is_refused(kind, taskring::setup().cpus({})) && is_refused(kind, taskring::setup().cpus({8191})));
    const cpu_list own = own_cpus(), chosen{own.back(), own.front()};
    taskring::setup made;
    taskring::pool pool(made.cpus(chosen).apply(make_config(kind, 3)));
    std::vector<bool> seen(3);
    until([&] {
        std::vector<decltype(pool.submit(place))> all;
        for (int i = 0; i < 6; i++)
            all.push_back(pool.submit(place));
        for (auto &one : all) {
            const auto [number, cpus] = one.get();
            CHECK(cpus == cpu_list{chosen[number % 2]});
            seen.at(number) = true;
        }
        return seen == std::vector<bool>(3, true);
    });
    CHECK(own_cpus() == own);
}

void semantics_p22_worker_processes_have_so_much_memory_and_threads_are_refused_it(std::uint32_t kind) {
    constexpr number quarter = 256 << 20;
    taskring::setup made;
    made.memory_max(quarter);
    if (in_threads(kind)) {
        CHECK(is_refused(kind, made));
        return;
    }
    taskring::pool pool(made.apply(make_config(kind, 1)));
    CHECK(thrown<taskring::task_error>([&] { pool.submit(fill, quarter).get(); }).find("bad_alloc") != std::string::npos);
    pool.submit(fill, quarter / 16).get();
}

void semantics_s1_shared_bytes_are_had_by_their_name_where_they_lie(std::uint32_t kind) {
    const std::string bytes(100000, 'p');
    taskring::setup made;
    taskring::pool pool(made.share("page", bytes).share("nothing", "").share("\u00e4", "text").apply(make_config(kind, 2)));
    const auto own = taskring::shared(pool, "page");
    CHECK(own == bytes && own.data() != bytes.data() && is_in_a_pool(own) && taskring::shared(pool, "nothing").empty());
    for (int i = 0; i < 4; i++) {
        const auto [found, at, is_shared] = pool.submit(look, "page").get();
        CHECK(found == bytes && is_shared && at % 64 == 0 && (!in_threads(kind) || at == address_of(own)));
    }
    CHECK(std::get<0>(pool.submit(look, "\u00e4").get()) == "text" && std::get<0>(pool.submit(look, "nothing").get()).empty());
    CHECK(thrown<taskring::task_error>([&] { pool.submit(look, "other").get(); }).find("other") != std::string::npos);
    thrown<taskring::invalid_argument_error>([&] { taskring::shared(pool, "other"); });
    thrown<taskring::invalid_argument_error>([&] { taskring::shared("page"); }); // This is no worker.
}

void semantics_s1_who_attaches_has_the_shared_bytes_and_two_of_one_name_are_refused(std::uint32_t kind) {
    CHECK(is_refused(kind, taskring::setup().share("", "x")) && is_refused(kind, taskring::setup().share("a", "x").share("a", "y")));
    const auto name = "cpp-shared-" + std::to_string(getpid());
    taskring::setup made;
    auto pool = taskring::pool::create_named(name, made.share("page", std::string(4096, 'q')).apply(make_config(kind, 1)));
    auto guest = taskring::pool::attach(name);
    CHECK(taskring::shared(guest, "page") == std::string(4096, 'q'));
    const auto [found, at, is_shared] = guest.submit(look, "page").get();
    CHECK(found.size() == 4096 && is_shared && at != 0);
}

void semantics_t3_a_worker_has_a_name_with_its_number(std::uint32_t kind) {
    taskring::setup made;
    taskring::pool pool(made.names("crew").apply(make_config(kind, 2)));
    for (std::uint32_t number : {0u, 1u})
        CHECK(pool.submit_to(number, who).get_for(LIMIT) == "crew_" + std::to_string(number) + "|" + std::to_string(number));
    CHECK(!taskring::worker_number() && taskring::worker_name().empty());
}

const semantics_case cases[] = {
    CASE(semantics_p21_an_initializer_that_throws_breaks_the_pool_and_leaves_nothing_behind),
    CASE(semantics_p22_workers_begin_with_their_initializer_and_leave_with_their_hook),
    CASE(semantics_p22_who_takes_a_killed_workers_place_has_an_initializer_and_the_killed_one_no_hook),
    CASE(semantics_p22_worker_processes_have_their_environment_and_threads_are_refused_one),
    CASE(semantics_p22_each_worker_runs_on_the_cpu_of_its_place),
    CASE(semantics_p22_worker_processes_have_so_much_memory_and_threads_are_refused_it),
    CASE(semantics_s1_shared_bytes_are_had_by_their_name_where_they_lie),
    CASE(semantics_s1_who_attaches_has_the_shared_bytes_and_two_of_one_name_are_refused),
    CASE(semantics_t3_a_worker_has_a_name_with_its_number),
};

} // namespace

int main(int argc, char **argv) {
    define_more();
    define_board_tasks();
    return run_cases(argc, argv, cases);
}
