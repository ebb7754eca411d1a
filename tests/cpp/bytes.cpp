// Values as bytes: codecs, parameters that refer to what was sent, loans, views. And what the library says.
#include "check.hpp"

#include <atomic>
#include <csignal>
#include <mutex>
#include <numeric>
#include <unistd.h>

namespace {

/// Trivially copyable, and encoded in another way: as one byte.
enum class colour : std::uint32_t { red = 1, green = 2 };

} // namespace

template <> struct taskring::codec<colour> {
    static void encode(const colour &value, std::string &to) { to.push_back(static_cast<char>(value)); }
    static colour decode(reader &from) { return static_cast<colour>(*from.take(1)); }
};

namespace {

const taskring::task<std::string(std::vector<colour>)> name_colours{"name_colours"};
const taskring::task<std::string(std::string)> colour_bytes{"name_colours"};
const taskring::task<std::vector<std::optional<int>>(std::vector<std::optional<int>>)> same_optionals{"same_optionals"};
const taskring::task<std::uint64_t(std::string_view, std::string_view)> find{"find"};
const taskring::task<std::uint64_t(const std::string &, std::string)> find_in_strings{"find"};
const taskring::task<double(std::vector<double>)> sum_of_vector{"sum"};
const taskring::task<std::string(std::uint64_t, char)> fill{"fill"};
const taskring::task<std::vector<double>(std::vector<double>)> halves{"halves"};
const taskring::task<void(std::string)> complain{"complain"};
const taskring::task<void()> die{"die"};
const taskring::task<void(std::uint64_t)> tell{"tell"};
#ifdef __cpp_lib_span
const taskring::task<double(std::span<const double>)> sum{"sum"};
const taskring::task<std::string(std::span<const std::string>, std::string_view)> join{"join"};
#endif

void define_all() {
    taskring::define(name_colours, [](std::vector<colour> all) {
        std::string names;
        for (const colour one : all)
            names += one == colour::red ? 'r' : one == colour::green ? 'g' : '?';
        return names;
    });
    taskring::define(same_optionals, [](std::vector<std::optional<int>> all) { return all; });
    taskring::define(find, [](std::string_view text, std::string_view part) { return static_cast<std::uint64_t>(text.find(part)); });
    taskring::define(fill, [](std::uint64_t len, char with) { return std::string(len, with); });
    taskring::define(halves, [](std::vector<double> all) {
        for (double &x : all)
            x /= 2;
        return all;
    });
    taskring::define(complain, [](std::string text) { throw std::runtime_error(text); });
    taskring::define(die, [] { std::raise(SIGKILL); });
    taskring::define(tell, [](std::uint64_t x) { taskring::report(x); });
#ifdef __cpp_lib_span
    taskring::define(sum, [](std::span<const double> all) { return std::accumulate(all.begin(), all.end(), 0.0); });
    taskring::define(join, [](std::span<const std::string> all, std::string_view by) {
        std::string joined;
        for (const std::string &one : all)
            joined.append(one).append(by);
        return joined;
    });
#else
    taskring::define(sum_of_vector, [](std::vector<double> all) { return std::accumulate(all.begin(), all.end(), 0.0); });
#endif
}

void codecs(taskring::pool &pool) {
    const std::vector<colour> colours{colour::red, colour::green, colour::red};
    CHECK(pool.submit(name_colours, colours).get() == "rgr");
    // Its own codec also holds inside of a vector: a length and three bytes, as a string.
    CHECK(pool.submit(colour_bytes, "\1\2\1").get() == "rgr");
    const std::vector<std::optional<int>> some{1, std::nullopt, 3};
    CHECK(pool.submit(same_optionals, some).get() == some);
    const std::string text = "needle in a haystack";
    CHECK(pool.submit(find, text, "hay").get() == 12);
    CHECK(pool.submit(find, std::string_view(text).substr(10), std::string("hay")).get() == 2);
    CHECK(pool.submit(find_in_strings, text, "in").get() == 7);
    CHECK(pool.submit(find, "", "").get() == 0);
}

/// What is longer than the type that is asked for is no value of it, wherever it comes from.
void left_over(taskring::pool &pool) {
    // Three doubles behind their number, as one number; and as nothing.
    const taskring::task<std::uint64_t(std::vector<double>)> as_number{"halves"};
    const taskring::task<void(std::vector<double>)> as_nothing{"halves"};
    const std::vector<std::vector<double>> inputs{{1, 2, 3}, {4}};
    const auto number = [&] { return pool.submit(as_number, inputs[0]); };
    const auto nothing = [&] { return pool.submit(as_nothing, inputs[0]); };
    CHECK(status_of([&] { number().get(); }) == TASKRING_DECODE && status_of([&] { nothing().get(); }) == TASKRING_DECODE);
    CHECK(number().try_get().status() == TASKRING_DECODE && nothing().try_get().status() == TASKRING_DECODE);
    auto seen = number();
    CHECK(status_of([&] { seen.result(); }) == TASKRING_DECODE && seen.view().size() == 32);
    auto numbers = pool.map(as_number, inputs);
    auto nothings = pool.map(as_nothing, inputs);
    for (int i = 0; i < 2; i++)
        CHECK(numbers.try_next().status() == TASKRING_DECODE && nothings.try_next().status() == TASKRING_DECODE);
    CHECK(!numbers.next() && !nothings.next());
    auto telling = pool.submit(tell, 7u);
    telling.wait();
    CHECK(telling.reported<std::uint64_t>() == 7u && status_of([&] { telling.reported<char>(); }) == TASKRING_DECODE);
    taskring::multi_pool crew(make_config(TASKRING_THREAD, 1));
    CHECK(status_of([&] { crew.apply(as_number, inputs[0]); }) == TASKRING_DECODE);
    CHECK(status_of([&] { crew.apply(as_nothing, inputs[0]); }) == TASKRING_DECODE);
    CHECK(status_of([&] { crew.map(as_number, inputs); }) == TASKRING_DECODE);
    CHECK(status_of([&] { crew.map(as_nothing, inputs); }) == TASKRING_DECODE);
}

#ifdef __cpp_lib_span
void spans(taskring::pool &pool) {
    std::vector<double> numbers(100000);
    std::iota(numbers.begin(), numbers.end(), 1.0);
    const double all[] = {1, 2, 3.5};
    CHECK(pool.submit(sum, numbers).get() == 100000.0 * 100001 / 2);
    CHECK(pool.submit(sum, std::span(numbers).subspan(10, 2)).get() == 23);
    CHECK(pool.submit(sum, all).get() == 6.5);
    CHECK(pool.submit(sum, std::span<const double>()).get() == 0);
    CHECK(pool.submit(sum, std::vector<double>{4, 5}).get() == 9);
    const std::vector<std::string> words{"a", "bc"};
    CHECK(pool.submit(join, words, "-").get() == "a-bc-");
    std::vector<double> results;
    for (const double y : pool.map(sum, std::vector<std::vector<double>>{{1, 2}, {}, {3}}))
        results.push_back(y);
    CHECK((results == std::vector<double>{3, 0, 3}));
}
#endif

void loans(taskring::pool &pool) {
    constexpr std::size_t COUNT = 100000;
    // Those of the tasks before come back soon after they are over.
    until([&] { return pool.stats().blocks == 0; });
    {
        auto lent = pool.loan(taskring::loan::size_for<double>(COUNT));
        CHECK(lent.valid() && lent.size() == 8 + 8 * COUNT && pool.stats().loans == 1);
        double *items = lent.array<double>(COUNT);
        for (std::size_t i = 0; i < COUNT; i++)
            items[i] = 1;
        CHECK(status_of([&] { lent.array<double>(COUNT + 1); }) == TASKRING_INVALID_ARGUMENT);
        auto moved = std::move(lent);
        CHECK(!lent.valid() && moved.valid());
        auto total = pool.submit(sum_of_vector, std::move(moved));
        CHECK(!moved.valid() && total.get() == COUNT);
        auto unused = pool.loan(1000), replaced = pool.loan(2000);
        replaced = std::move(unused);
        CHECK(pool.stats().loans == 1 && replaced.size() == 1000);
        auto set = pool.new_set();
        set.discard();
        CHECK(status_of([&] { pool.submit(set, sum_of_vector, std::move(replaced)); }) == TASKRING_DISCARDED);
        CHECK(replaced.valid() && replaced.size() == 1000);
        replaced.array<double>(1)[0] = 5;
        replaced.shorten(taskring::loan::size_for<double>(1));
        CHECK(pool.submit(sum_of_vector, std::move(replaced)).get() == 5);
        auto given_back = pool.loan(1 << 20);
        CHECK(pool.stats().loans == 1);
    }
    CHECK(pool.stats().loans == 0);
    until([&] { return pool.stats().blocks == 0; });
    CHECK(status_of([&] { pool.loan(std::size_t(1) << 40); }) == TASKRING_PAYLOAD_TOO_LARGE);
}

void views(taskring::pool &pool) {
    auto large = pool.submit(fill, 3000000u, 'x');
    const std::string_view seen = large.view();
    CHECK(seen.size() == 8 + 3000000 && seen.substr(8).find_first_not_of('x') == std::string_view::npos);
    CHECK(large.view().data() == seen.data() && large.valid());
    auto moved = std::move(large);
    CHECK(moved.view().data() == seen.data() && seen.back() == 'x');
    CHECK(moved.get() == std::string(3000000, 'x') && !moved.valid());
    auto small = pool.submit(halves, std::vector<double>{3});
    const std::string_view bytes = small.view();
    double half = 0;
    CHECK(bytes.size() == 16 && reinterpret_cast<std::uintptr_t>(bytes.data()) % 16 == 0);
    std::memcpy(&half, bytes.data() + 8, sizeof half);
    CHECK(half == 1.5);
    auto failing = pool.submit(complain, "alas");
    CHECK(thrown<taskring::task_error>([&] { failing.view(); }) == "alas" && !failing.valid());
}

void logs() {
    struct counted {
        std::shared_ptr<std::atomic<int>> ends;
        counted(std::shared_ptr<std::atomic<int>> to) : ends(std::move(to)) {}
        counted(counted &&) = default;
        ~counted() {
            if (ends)
                ++*ends;
        }
    };
    const auto ends = std::make_shared<std::atomic<int>>(0);
    std::mutex mutex;
    std::vector<std::string> warnings, others;
    taskring::set_log(TASKRING_LOG_WARN, [&, guard = counted(ends)](std::uint32_t level, std::string_view message) {
        const std::lock_guard<std::mutex> lock(mutex);
        (level == TASKRING_LOG_WARN ? warnings : others).emplace_back(message);
    });
    const auto warned = [&] {
        const std::lock_guard<std::mutex> lock(mutex);
        return !warnings.empty();
    };
    {
        taskring::pool pool(make_config(TASKRING_SPAWN, 1));
        CHECK(pool.submit(die).try_get_for(LIMIT).status() == TASKRING_WORKER_LOST);
        until(warned);
    }
    CHECK(*ends == 0 && others.empty() && !warnings[0].empty());
    CHECK(status_of([&] { taskring::set_log(77, [guard = counted(ends)](std::uint32_t, std::string_view) {}); }) == TASKRING_INVALID_ARGUMENT);
    CHECK(*ends == 1);
    taskring::set_log(nullptr);
    until([&] { return *ends == 2; });
    const std::size_t before = warnings.size();
    taskring::pool pool(make_config(TASKRING_SPAWN, 1));
    CHECK(pool.submit(die).try_get_for(LIMIT).status() == TASKRING_WORKER_LOST);
    CHECK(pool.submit(find, "a", "a").get() == 0 && warnings.size() == before);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    for (const std::uint32_t method : {TASKRING_THREAD, TASKRING_SPAWN}) {
        taskring::pool pool(make_config(method, 2));
        codecs(pool);
        left_over(pool);
#ifdef __cpp_lib_span
        spans(pool);
#endif
        loans(pool);
        views(pool);
    }
    logs();
    std::puts("ok");
}
