// The lazy maps of section L in C++: imap and imap_unordered of a pool in the style of multiprocessing.Pool.
#include "semantics_shared.hpp"

#include <fstream>
#include <list>

namespace {

/// The square, once a file of that name is there, if one is named; before, it says in another one that it runs.
const taskring::task<number(number, std::string)> gated{"gated"};

void define_more() {
    taskring::define(gated, [](number x, std::string gate) {
        if (!gate.empty()) {
            std::ofstream(gate + "1").put('1');
            for (int i = 0; i < 20000 && access((gate + "2").c_str(), F_OK) != 0; i++)
                std::this_thread::sleep_for(1ms);
        }
        return x * x;
    });
}

taskring::multi_pool make_multi(std::uint32_t kind, std::uint32_t workers) { return taskring::multi_pool(make_config(kind, workers, 1024)); }

/// Holds the task of the first number up until it is let go.
class gate {
public:
    gate() : path_("/tmp/taskring-imap-cpp-" + std::to_string(getpid()) + "-") { clean(); }
    ~gate() { clean(); }
    void until_running() const {
        until([this] { return access((path_ + "1").c_str(), F_OK) == 0; });
    }
    void let_go() const { std::ofstream(path_ + "2").put('2'); }
    /// The numbers up to this one, the first with the gate.
    std::vector<std::tuple<number, std::string>> numbers_to(number end) const {
        std::vector<std::tuple<number, std::string>> all;
        for (number x = 0; x < end; x++)
            all.emplace_back(x, x == 0 ? path_ : "");
        return all;
    }

private:
    void clean() const {
        std::remove((path_ + "1").c_str());
        std::remove((path_ + "2").c_str());
    }
    std::string path_;
};

/// The numbers from 0 on, those that are multiples of 5 left out; counts how far they were read, and throws at one of them.
struct counted {
    struct iterator {
        const counted *of;
        number at;
        bool operator!=(const iterator &other) const { return at != other.at; }
        void operator++() { at++; }
        number operator*() const {
            if (at == of->fails)
                throw std::logic_error("the input");
            ++*of->read;
            return 2 * at;
        }
    };
    number *read, last, fails = UINT64_MAX;
    iterator begin() const { return {this, 0}; }
    iterator end() const { return {this, last}; }
};

numbers squares_to(number end) {
    numbers all;
    for (number x = 0; x < end; x++)
        all.push_back(4 * x * x);
    return all;
}

template <class R> numbers all_of(R &&results) {
    numbers all;
    for (const number y : results)
        all.push_back(y);
    return all;
}

void semantics_l11_imap_gives_results_one_by_one_in_order(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    number read = 0;
    CHECK(all_of(pool.imap(square, counted{&read, 50})) == squares_to(50) && read == 50);
    for (const std::size_t chunk : {1, 7, 1000})
        CHECK(all_of(pool.imap(square, counted{&read, 50}, chunk)) == squares_to(50));
    CHECK(all_of(pool.imap(square, counted{&read, 50}, taskring::map_options().chunk_auto())) == squares_to(50));
    CHECK(all_of(pool.imap(square, numbers())).empty() && all_of(pool.imap_unordered(square, numbers(), 3)).empty());
    const std::list<int> kept{1, 2, 3};
    CHECK(all_of(pool.imap(square, kept)) == numbers({1, 4, 9}));
    // Those that end before the first one wait for it.
    const gate first;
    auto behind = pool.imap(gated, first.numbers_to(20));
    first.until_running();
    thrown<taskring::timeout_error>([&] { behind.next_for(20ms); });
    first.let_go();
    for (number x = 0; x < 20; x++)
        CHECK(behind.next_for(LIMIT) == x * x);
    // A task that fails is an error at its place, and the map goes on.
    auto results = pool.imap(square, numbers{4, 5, 6});
    CHECK(results.next() == 16);
    thrown<taskring::task_error>([&] { results.next(); });
    CHECK(results.index() == 1 && results.next() == 36 && !results.next());
    // Several arguments are a tuple; what gives nothing is counted.
    CHECK(all_of(pool.imap(gated, std::vector<std::tuple<number, std::string>>{{3, ""}, {4, ""}})) == numbers({9, 16}));
    auto naps = pool.imap(nap, numbers{0, 0});
    CHECK(naps.next() && naps.next() && !naps.next());
    read = 0;
    CHECK(thrown<taskring::invalid_argument_error>([&] { pool.imap(square, counted{&read, 50}, 0); }) == "the map's chunk is 0; wanted at least 1");
    thrown<taskring::invalid_argument_error>([&] { pool.imap_unordered(square, counted{&read, 50}, 0); });
    CHECK(read == 0 && status_of([&] { pool.imap(taskring::task<void(number)>("no such function"), numbers{1}); }) == TASKRING_UNKNOWN_FUNCTION);
}

void semantics_l12_imap_reads_a_window_and_all_at_once_when_asked_to(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    number read = 0;
    {
        auto results = pool.imap(square, counted{&read, UINT64_MAX});
        CHECK(read == 4);
        for (number x = 0; x < 2; x++)
            CHECK(results.next() == 4 * x * x && read == x + 5);
    }
    read = 0;
    auto all = pool.imap(square, counted{&read, 200}, taskring::map_options().window(UINT64_MAX));
    CHECK(read == 200 && all_of(all) == squares_to(200));
}

void semantics_l13_an_error_of_the_input_stands_at_its_place(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    for (const std::size_t chunk : {1, 3}) {
        number read = 0;
        auto results = pool.imap(square, counted{&read, 50, 4}, chunk);
        for (number x = 0; x < 4; x++)
            CHECK(results.next() == 4 * x * x);
        CHECK(thrown<std::logic_error>([&] { results.next(); }) == "the input");
        CHECK(!results.next());
    }
    CHECK(pool.apply(square, 3) == 9);
}

void semantics_l14_a_result_of_imap_that_is_not_there_in_time_may_be_asked_for_again(std::uint32_t kind) {
    auto pool = make_multi(kind, 1);
    for (const std::size_t chunk : {1, 3}) {
        const gate first;
        auto results = pool.imap(gated, first.numbers_to(5), chunk);
        first.until_running();
        thrown<taskring::timeout_error>([&] { results.next_for(0ms); });
        thrown<taskring::timeout_error>([&] { results.next_for(20ms); });
        CHECK(results.try_next_for(20ms).status() == TASKRING_TIMED_OUT);
        first.let_go();
        for (number x = 0; x < 5; x++)
            CHECK(results.next_for(LIMIT) == x * x);
        CHECK(!results.next_for(LIMIT));
    }
}

void semantics_l15_imap_unordered_gives_what_ends_first(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    const gate first;
    auto results = pool.imap_unordered(gated, first.numbers_to(50));
    first.until_running();
    // One worker has the first, the other one all the rest.
    std::vector<bool> seen(50);
    for (number n = 1; n < 50; n++) {
        const auto next = results.next_for(LIMIT);
        CHECK(next == results.index() * results.index() && results.index() != 0 && !seen.at(results.index()));
        seen.at(results.index()) = true;
    }
    thrown<taskring::timeout_error>([&] { results.next_for(20ms); });
    first.let_go();
    CHECK(results.next_for(LIMIT) == 0 && results.index() == 0 && !results.next());
}

void semantics_l18_a_map_that_goes_on_at_the_close_reads_the_rest_of_its_inputs(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    number read = 0, other_read = 0;
    auto results = pool.imap(square, counted{&read, 50});
    auto other = pool.imap(square, counted{&other_read, 30});
    CHECK(results.next() == 0);
    pool.close();
    thrown<taskring::shut_down_error>([&] { pool.imap(square, numbers{1}); });
    thrown<taskring::shut_down_error>([&] { pool.imap_unordered(square, numbers{1}); });
    thrown<taskring::shut_down_error>([&] { pool.apply(square, 1); });
    for (number x = 1; x < 50; x++)
        CHECK(results.next() == 4 * x * x);
    CHECK(!results.next() && all_of(other) == squares_to(30));
    pool.join();
}

void semantics_l18_joining_does_not_wait_for_inputs_that_nobody_reads(std::uint32_t kind) {
    auto pool = make_multi(kind, 2);
    number read = 0;
    auto results = pool.imap(square, counted{&read, 50});
    pool.close();
    pool.join();
    for (number x = 0; x < 4; x++)
        CHECK(results.next() == 4 * x * x);
    thrown<taskring::shut_down_error>([&] { results.next(); });
    CHECK(results.index() == 4 && !results.next());
}

void semantics_l19_what_a_map_has_not_given_ends_with_its_pool(std::uint32_t kind) {
    const gate first;
    std::optional<taskring::results<number>> results;
    {
        auto pool = make_multi(kind, 1);
        results.emplace(pool.imap(gated, first.numbers_to(1000)));
        first.until_running();
    }
    if (in_threads(kind)) {
        first.let_go();
        CHECK(results->next_for(LIMIT) == 0);
    }
    int terminated = 0;
    auto next = results->try_next();
    for (; next.status() == TASKRING_TERMINATED; next = results->try_next())
        terminated++;
    // Those in the window, and the first one that was refused.
    CHECK(next.status() == TASKRING_END && terminated == (in_threads(kind) ? 2 : 3));
    thrown<taskring::terminated_error>([&] {
        auto pool = make_multi(kind == TASKRING_FORK ? TASKRING_SPAWN : kind, 1);
        auto later = pool.imap(nap, numbers(100, 1));
        pool.terminate();
        for (int i = 0; i < 4; i++)
            later.next();
    });
}

const semantics_case cases[] = {
    CASE(semantics_l11_imap_gives_results_one_by_one_in_order),
    CASE(semantics_l12_imap_reads_a_window_and_all_at_once_when_asked_to),
    CASE(semantics_l13_an_error_of_the_input_stands_at_its_place),
    CASE(semantics_l14_a_result_of_imap_that_is_not_there_in_time_may_be_asked_for_again),
    CASE(semantics_l15_imap_unordered_gives_what_ends_first),
    CASE(semantics_l18_a_map_that_goes_on_at_the_close_reads_the_rest_of_its_inputs),
    CASE(semantics_l18_joining_does_not_wait_for_inputs_that_nobody_reads),
    CASE(semantics_l19_what_a_map_has_not_given_ends_with_its_pool),
};

} // namespace

int main(int argc, char **argv) {
    define_more();
    return run_cases(argc, argv, cases);
}
