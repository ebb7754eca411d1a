// What the question's answers show, in C++: see question.rs.
#include "seeds.hpp"

#include <filesystem>
#include <fstream>

namespace {

/// The first of these many images are there at once; the others come when there is a file of this name.
constexpr int AT_ONCE = 40;
constexpr const char *GATE = "gate";

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<bool(int)> is_jpeg{"is_jpeg"};
const taskring::task<int(int)> process{"process"};

void define_tasks() {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(is_jpeg, [](int image) {
        if (image >= AT_ONCE)
            until([] { return std::filesystem::exists(GATE); });
        char first[3] = {};
        std::ifstream(std::to_string(image) + ".img", std::ios::binary).read(first, sizeof first);
        return std::string_view(first, sizeof first) == "\xff\xd8\xff";
    });
    taskring::define(process, [](int image) {
        if (image >= 6 * AT_ONCE)
            until([] { return std::filesystem::exists(GATE); });
        return image;
    });
}

void open_gate() { CHECK(std::ofstream(GATE).is_open()); }

/// Numbers below a million, until it is stopped; then ten others.
class two_inputs {
public:
    explicit two_inputs(std::uint64_t at, const bool *stopped = nullptr) : at_(at), stopped_(stopped) {}
    std::uint64_t operator*() const { return at_; }
    two_inputs &operator++() {
        const bool leaves = at_ == 999999 || (at_ < 1000000 && *stopped_);
        at_ = leaves ? 2000000 : at_ + 1;
        return *this;
    }
    bool operator!=(const two_inputs &other) const { return at_ != other.at_; }

private:
    std::uint64_t at_;
    const bool *stopped_;
};

void lazy_feed() {
    taskring::pool pool(make_config(TASKRING_SPAWN, 2));
    bool stopped = false;
    // A task for each worker, and one ahead: nothing else of the input is read.
    auto squares = pool.map(square, two_inputs(0, &stopped), two_inputs(2000010), taskring::map_options().window(3));
    std::uint64_t x = 0;
    for (; x < 200; x++)
        CHECK(squares.next() == x * x);
    std::printf("main: %d results of the first input\n", static_cast<int>(x));
    stopped = true;
    std::vector<std::uint64_t> others;
    for (const auto one : squares)
        others.push_back(one);
    CHECK(others.size() >= 10 && others.size() <= 13);
    std::printf("main: no more than 3 others of it were under way\n");
    for (std::size_t i = 0; i < 10; i++)
        CHECK(others[others.size() - 10 + i] == (2000000 + i) * (2000000 + i));
    std::printf("main: 10 results of the second input\n");
}

/// Tasks of a set for images from 0 on.
template <class R>
std::vector<taskring::future<R>> submit_images(taskring::pool &pool, const taskring::task_set &set, taskring::task<R(int)> what, int count) {
    std::vector<taskring::future<R>> futures;
    for (int image = 0; image < count; image++)
        futures.push_back(pool.submit(set, what, image));
    return futures;
}

/// Waits for what has not been taken: as many of it are cancelled as was told, or more if a worker had been about to start one.
template <class R> void check_rest(std::vector<taskring::future<R>> &futures, const taskring_discarded &counts) {
    std::uint64_t cancelled = 0;
    for (auto &future : futures)
        if (future.valid()) {
            const auto end = future.try_get();
            CHECK(end || end.status() == TASKRING_CANCELLED);
            cancelled += !end;
        }
    CHECK(cancelled >= counts.cancelled && cancelled <= counts.cancelled + counts.running);
}

void ten_jpegs() {
    taskring::pool pool(make_config(TASKRING_SPAWN, 2, 1024));
    auto set = pool.new_set();
    auto futures = submit_images(pool, set, is_jpeg, 100);
    int found = 0;
    for (auto &ended : taskring::as_completed(futures)) {
        found += ended.future.get();
        if (found == 10)
            break;
    }
    std::printf("main: ten JPEGs are enough\n");
    const auto counts = set.discard();
    open_gate();
    CHECK(counts.cancelled >= 58);
    check_rest(futures, counts);
    std::printf("main: the others are over, most of them cancelled\n");
    std::printf("main: the pool looks at another: %s\n", pool.submit(is_jpeg, 0).get() ? "true" : "false");
}

void two_sets() {
    taskring::pool pool(make_config(TASKRING_SPAWN, 4, 1024));
    auto set = pool.new_set();
    auto futures = submit_images(pool, set, process, 1000);
    int processed = 0;
    for (auto &ended : taskring::as_completed(futures)) {
        ended.future.get();
        if (++processed == 200)
            break;
    }
    std::printf("main: %d of 1000 images are processed\n", processed);
    const auto counts = set.discard();
    open_gate();
    CHECK(counts.cancelled >= 756 && counts.running <= 4);
    CHECK(counts.cancelled + counts.running + counts.done == 1000);
    check_rest(futures, counts);
    std::printf("main: the others never start, but for those that run already\n");

    std::vector<int> second;
    for (int image = 1000; image < 1100; image++)
        second.push_back(image);
    std::vector<int> results;
    for (const int image : pool.map(process, second))
        results.push_back(image);
    CHECK(results == second);
    std::printf("main: %zu images of the second set are processed\n", results.size());
}

} // namespace

int main(int argc, char **argv) {
    define_tasks();
    taskring::init(argc, argv);
    return run_example(argc, argv, {{"lazy_feed", lazy_feed}, {"ten_jpegs", ten_jpegs}, {"two_sets", two_sets}});
}
