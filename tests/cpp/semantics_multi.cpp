// Section L of the contract in C++: the pool in the style of multiprocessing.Pool.
#include "semantics_shared.hpp"

#include <atomic>
#include <fstream>
#include <list>
#include <mutex>

namespace {

const taskring::task<number(number, std::uint32_t)> power{"power"};
const taskring::task<numbers(number)> up_to{"up_to"};
const taskring::task<number(number)> odd_only{"odd_only"};
const taskring::task<std::string(std::string)> hold{"hold"};
const taskring::task<void(std::string)> append{"append"};
/// The task that this input is in.
const taskring::task<number(number)> task_of{"task_of"};

void define_more() {
    taskring::define(power, [](number base, std::uint32_t exponent) {
        number all = 1;
        for (std::uint32_t i = 0; i < exponent; i++)
            all *= base;
        return all;
    });
    taskring::define(up_to, [](number end) {
        numbers all;
        for (number i = 0; i < end; i++)
            all.push_back(i);
        return all;
    });
    taskring::define(odd_only, [](number x) {
        // The first in the order of inputs fails last.
        if (x == 4)
            std::this_thread::sleep_for(20ms);
        if (x % 2 == 0)
            throw std::runtime_error(std::to_string(x) + " is even");
        return x;
    });
    taskring::define(task_of, [](number) { return taskring::task_ticket(); });
    taskring::define(append, [](std::string path) {
        std::this_thread::sleep_for(2ms);
        std::ofstream(path, std::ios::app).put('1');
    });
    // Says in a file that it runs, and goes on until there is a second one.
    taskring::define(hold, [](std::string path) {
        std::ofstream(path).put('1');
        for (int i = 0; i < 20000 && access((path + "2").c_str(), F_OK) != 0; i++)
            std::this_thread::sleep_for(1ms);
        return std::string("held");
    });
}

taskring::multi_pool make_multi(std::uint32_t kind, std::uint32_t workers) { return taskring::multi_pool(make_config(kind, workers, 1024)); }

/// A task that runs until it is let go.
class held {
public:
    explicit held(taskring::multi_pool &pool) : result(start(pool)) {
        until([] { return access(path().c_str(), F_OK) == 0; });
    }
    ~held() { clean(); }
    void let_go() { std::ofstream(path() + "2").put('2'); }
    /// After the pool was ended: only a thread goes on.
    void check_ended(std::uint32_t kind) {
        if (!in_threads(kind)) {
            thrown<taskring::terminated_error>([this] { result.get(); });
            return;
        }
        let_go();
        CHECK(result.get_for(LIMIT) == "held");
    }

    taskring::async_result<std::string> result;

private:
    static std::string path() { return "/tmp/taskring-held-cpp-" + std::to_string(getpid()); }
    static void clean() {
        std::remove(path().c_str());
        std::remove((path() + "2").c_str());
    }
    static taskring::async_result<std::string> start(taskring::multi_pool &pool) {
        clean();
        return pool.apply_async(hold, path());
    }
};

numbers even_numbers(number count) {
    numbers all;
    for (number i = 0; i < count; i++)
        all.push_back(2 * i);
    return all;
}

numbers squares_of(const numbers &all) {
    numbers squares;
    for (const number x : all)
        squares.push_back(x * x);
    return squares;
}

/// What an exception says.
std::string what(const std::exception_ptr &why) {
    return thrown<taskring::error>([&] { std::rethrow_exception(why); });
}

void semantics_l3_apply_waits_for_the_result(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    CHECK(pool.apply(square, 7) == 49);
    CHECK(pool.apply(power, 2, 10) == 1024);
    CHECK(pool.apply(up_to, 3) == numbers({0, 1, 2}));
    pool.apply(nap, 1);
    CHECK(thrown<taskring::task_error>([&] { pool.apply(complain, "alas"); }) == "alas");
    CHECK(status_of([&] { pool.apply(taskring::task<void()>("no such function")); }) == TASKRING_UNKNOWN_FUNCTION);
}

void semantics_l4_map_gives_a_list_in_the_order_of_its_inputs(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    const auto inputs = even_numbers(500);
    for (const std::size_t chunk : {0, 1, 7, 1000})
        CHECK(pool.map(square, inputs, chunk) == squares_of(inputs));
    CHECK(pool.map(square, std::list<int>{1, 2, 3}) == numbers({1, 4, 9}));
    CHECK(pool.map(up_to, numbers{2, 0}) == std::vector<numbers>({{0, 1}, {}}));
    CHECK(pool.map(nap, numbers{0, 0, 0}).size() == 3);
    // What the input throws comes out of the call.
    struct failing {
        number at;
        bool operator!=(const failing &) const { return true; }
        void operator++() { at++; }
        number operator*() const { return at < 5 ? at : throw std::logic_error("the input"); }
    };
    struct range {
        failing begin() const { return {0}; }
        failing end() const { return {0}; }
    };
    CHECK(thrown<std::logic_error>([&] { pool.map(square, range()); }) == "the input");
    CHECK(pool.apply(square, 3) == 9);
}

/// Each task of a map has so many inputs, but for the last one, which has what is left.
void check_chunks(const numbers &tasks, number chunk) {
    for (std::size_t i = 0; i < tasks.size(); i++)
        CHECK((i == 0 || tasks[i] != tasks[i - 1]) == (i % chunk == 0));
}

void semantics_l4_a_map_is_four_tasks_for_each_worker_unless_a_chunk_is_named(std::uint32_t kind) {
    auto pool = make_multi(kind, 3);
    const numbers counts{1, 3, 12, 13, 24, 25, 100, 1000}, chunks{1, 1, 1, 2, 2, 3, 9, 84};
    for (std::size_t i = 0; i < counts.size(); i++) {
        const auto inputs = even_numbers(counts[i]);
        check_chunks(pool.map(task_of, inputs), chunks[i]);
        check_chunks(pool.map_async(task_of, inputs).get(), chunks[i]);
    }
    check_chunks(pool.map(task_of, even_numbers(100), 1), 1);
    check_chunks(pool.map(task_of, even_numbers(100), 40), 40);
}

void semantics_l5_no_inputs_are_no_results_at_once(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    CHECK(pool.map(square, numbers()).empty());
    int values = 0, errors = 0;
    auto result = pool.map_async_with([&](const numbers &all) { values += all.empty(); }, [&](const auto &) { errors++; }, square, numbers());
    CHECK(result.ready() && result.successful() && values == 1 && errors == 0);
    CHECK(result.get_for(0ms).empty());
}

void semantics_l6_a_failing_map_waits_for_all_and_gives_the_first_error(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    auto result = pool.map_async(odd_only, numbers{3, 4, 5, 6, 7, 8}, 1);
    CHECK(thrown<taskring::task_error>([&] { result.get(); }) == "4 is even");
    CHECK(result.ready() && !result.successful());
    CHECK(thrown<taskring::task_error>([&] { pool.map(odd_only, numbers{1, 2, 3}); }) == "2 is even");
}

void semantics_l8_one_callback_is_called_once_with_everything(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    const auto inputs = even_numbers(20);
    std::vector<numbers> told;
    std::vector<std::string> errors;
    const auto tell = [&](numbers all) { told.push_back(std::move(all)); };
    const auto tell_error = [&](const std::exception_ptr &why) { errors.push_back(what(why)); };
    CHECK(pool.map_async_with(tell, tell_error, square, inputs, 3).get() == squares_of(inputs));
    CHECK(told == std::vector<numbers>({squares_of(inputs)}) && errors.empty());
    pool.map_async_with(tell, tell_error, odd_only, numbers{1, 2, 3, 4}, 1).wait();
    CHECK(told.size() == 1 && errors == std::vector<std::string>({"2 is even"}));
    int done = 0;
    pool.apply_async_with([&] { done++; }, tell_error, nap, 1).wait();
    pool.apply_async_with([&] { done++; }, tell_error, complain, "alas").wait();
    CHECK(done == 1 && errors.size() == 2 && errors[1] == "alas");
    // What the callbacks own ends with them, also when the call fails.
    const auto owned = std::make_shared<int>(3);
    status_of([&] { pool.apply_async_with([owned] {}, [owned](const auto &) {}, taskring::task<void()>("no such function")); });
    pool.apply_async_with([owned](number) {}, [owned](const auto &) {}, square, 3).wait();
    CHECK(owned.use_count() == 1);
}

void semantics_l8_a_task_with_several_arguments_is_mapped_over_tuples(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    using two = std::tuple<number, std::uint32_t>;
    CHECK(pool.map(power, std::vector<two>{{2, 3}, {3, 2}, {7, 0}}) == numbers({8, 9, 1}));
}

void semantics_l9_a_result_can_be_waited_for_and_asked(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    held running(pool);
    auto &result = running.result;
    CHECK(!result.ready() && !result.wait_for(20ms));
    thrown<taskring::invalid_state_error>([&] { result.successful(); });
    thrown<taskring::timeout_error>([&] { result.get_for(20ms); });
    running.let_go();
    result.wait();
    CHECK(result.ready() && result.successful() && result.wait_for(0ms));
    CHECK(result.get() == "held" && result.get_for(0ms) == "held");
    auto failed = pool.apply_async(complain, "alas");
    CHECK(thrown<taskring::task_error>([&] { failed.get(); }) == "alas" && !failed.successful());
}

void semantics_l10_a_callback_has_returned_before_the_result_is_given(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    std::atomic<int> returned{0};
    const auto slow = [&](number) {
        std::this_thread::sleep_for(50ms);
        returned++;
    };
    CHECK(pool.apply_async_with(slow, [](const auto &) {}, square, 4).get() == 16);
    CHECK(returned == 1);
    // One that nobody waits for is called all the same.
    pool.apply_async_with(slow, [](const auto &) {}, square, 4);
    until([&] { return returned == 2; });
}

void semantics_l18_a_closed_pool_runs_what_it_has_and_takes_nothing(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    thrown<taskring::invalid_state_error>([&] { pool.join(); });
    std::vector<taskring::async_result<number>> results;
    for (const number x : even_numbers(20))
        results.push_back(pool.apply_async(square, x));
    pool.close();
    thrown<taskring::shut_down_error>([&] { pool.apply(square, 1); });
    thrown<taskring::shut_down_error>([&] { pool.map(square, numbers{1, 2}); });
    pool.join();
    for (std::size_t i = 0; i < results.size(); i++)
        CHECK(results[i].get_for(0ms) == 4 * i * i);
}

void semantics_l19_terminate_is_quick_and_runs_none_of_the_rest(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    held running(pool);
    auto naps = pool.map_async(nap, numbers(1000, 10000), 10);
    const auto start = std::chrono::steady_clock::now();
    pool.terminate();
    CHECK(std::chrono::steady_clock::now() - start < 5s);
    thrown<taskring::terminated_error>([&] { naps.get(); });
    running.check_ended(kind);
    pool.terminate();
    pool.join();
}

void semantics_l20_the_end_of_the_scope_ends_a_pool_and_its_results(std::uint32_t kind) {
    std::optional<held> running;
    std::optional<taskring::async_result<number>> pending;
    CHECK(thrown<std::logic_error>([&] {
              auto pool = make_multi(kind, 1);
              running.emplace(pool);
              pending.emplace(pool.apply_async(square, 4));
              throw std::logic_error("out of the scope");
          }) == "out of the scope");
    thrown<taskring::terminated_error>([&] { pending->get(); });
    running->check_ended(kind);
}

void semantics_ld_a_callback_that_throws_and_a_task_that_exits_hang_nothing(std::uint32_t kind) {
    std::mutex mutex;
    std::vector<std::string> lines;
    taskring::set_log(TASKRING_LOG_ERROR, [&](std::uint32_t, std::string_view line) {
        const std::lock_guard<std::mutex> guard(mutex);
        lines.emplace_back(line);
    });
    auto pool = make_multi(kind, 1);
    const auto throws = [](const auto &...) { throw std::runtime_error("in a callback"); };
    CHECK(pool.apply_async_with(throws, throws, square, 4).get() == 16);
    thrown<taskring::task_error>([&] { pool.apply_async_with(throws, throws, complain, "alas").get(); });
    {
        const std::lock_guard<std::mutex> guard(mutex);
        CHECK(lines == std::vector<std::string>({"a callback threw: in a callback", "an error callback threw: in a callback"}));
    }
    CHECK(pool.apply_async_with([](number) {}, throws, square, 6).get() == 36);
    if (!in_threads(kind)) {
        thrown<taskring::worker_lost>([&] { pool.apply(exit_with_3); });
        std::string told;
        pool.apply_async_with([] {}, [&](const std::exception_ptr &why) { told = what(why); }, die).wait();
        CHECK(!told.empty());
    }
    CHECK(pool.map(square, even_numbers(4)) == squares_of(even_numbers(4)));
    taskring::set_log(nullptr);
}

std::optional<taskring::pool> global;
std::optional<taskring::multi_pool> global_multi;

/// What this case does in a program of its own, which has the path of a file, is over with that program: it keeps its code, and has added ten bytes.
template <class Work> void end_with_the_program(std::uint32_t kind, const char *name, Work work) {
    if (const char *path = std::getenv("TASKRING_TEST_L24")) {
        work(path);
        std::exit(7);
    }
    const auto own = "/tmp/taskring-l24-cpp-" + std::to_string(getpid());
    CHECK(setenv("TASKRING_TEST_L24", own.c_str(), 1) == 0);
    CHECK(semantics_code(kind, name) == 7);
    CHECK(std::ifstream(own, std::ios::ate).tellg() == 10);
    std::remove(own.c_str());
}

void semantics_l24_a_pool_in_a_global_ends_with_the_program_and_keeps_its_exit_code(std::uint32_t kind) {
    end_with_the_program(kind, __func__, [kind](const char *path) {
        global.emplace(make_config(kind, 2));
        for (int i = 0; i < 10; i++)
            global->submit(append, path);
    });
}

/// It is destroyed, and ends at once what it has, only after the library's own wait for all pools: that was added to what exit does later than the object.
void semantics_l24_a_pool_of_this_style_in_a_global_ends_with_the_program(std::uint32_t kind) {
    end_with_the_program(kind, __func__, [kind](const char *path) {
        global_multi.emplace(make_config(kind, 2));
        for (int i = 0; i < 10; i++)
            global_multi->apply_async(append, path);
    });
}

const semantics_case cases[] = {
    CASE(semantics_l3_apply_waits_for_the_result),
    CASE(semantics_l4_map_gives_a_list_in_the_order_of_its_inputs),
    CASE(semantics_l4_a_map_is_four_tasks_for_each_worker_unless_a_chunk_is_named),
    CASE(semantics_l5_no_inputs_are_no_results_at_once),
    CASE(semantics_l6_a_failing_map_waits_for_all_and_gives_the_first_error),
    CASE(semantics_l8_one_callback_is_called_once_with_everything),
    CASE(semantics_l8_a_task_with_several_arguments_is_mapped_over_tuples),
    CASE(semantics_l9_a_result_can_be_waited_for_and_asked),
    CASE(semantics_l10_a_callback_has_returned_before_the_result_is_given),
    CASE(semantics_l18_a_closed_pool_runs_what_it_has_and_takes_nothing),
    CASE(semantics_l19_terminate_is_quick_and_runs_none_of_the_rest),
    CASE(semantics_l20_the_end_of_the_scope_ends_a_pool_and_its_results),
    CASE(semantics_l24_a_pool_in_a_global_ends_with_the_program_and_keeps_its_exit_code),
    CASE(semantics_l24_a_pool_of_this_style_in_a_global_ends_with_the_program),
    CASE(semantics_ld_a_callback_that_throws_and_a_task_that_exits_hang_nothing),
};

} // namespace

int main(int argc, char **argv) {
    define_more();
    return run_cases(argc, argv, cases);
}
