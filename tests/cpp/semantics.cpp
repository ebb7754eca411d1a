// The C++ wrapper by behaviour.
#include "check.hpp"

#include <csignal>
#include <unistd.h>

std::uint32_t version_in_another_file();

namespace {

struct point {
    double x, y;
};

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<std::string(std::string, int)> repeat{"repeat"};
const taskring::task<point(point, double)> scale{"scale"};
const taskring::task<std::vector<std::string>(std::vector<int>, std::optional<std::string>)> label{"label"};
const taskring::task<void()> nothing{"nothing"};
const taskring::task<void(std::string)> complain{"complain"};
const taskring::task<void()> die{"die"};
const taskring::task<void()> until_asked{"until_asked"};
const taskring::task<std::uint64_t(std::string)> wrong_square{"square"};

std::uint64_t square_it(std::uint64_t x) { return x * x; }

void define_all() {
    taskring::define(square, square_it);
    taskring::define(repeat, [](std::string text, int times) {
        std::string all;
        for (int i = 0; i < times; i++)
            all += text;
        return all;
    });
    taskring::define(scale, [](point p, double by) { return point{p.x * by, p.y * by}; });
    taskring::define(label, [](std::vector<int> numbers, std::optional<std::string> prefix) {
        std::vector<std::string> labels;
        for (int n : numbers)
            labels.push_back(prefix.value_or("no") + std::to_string(n));
        return labels;
    });
    taskring::define(nothing, [] {});
    taskring::define(complain, [](std::string text) { throw std::runtime_error(text); });
    taskring::define(die, [] { std::raise(SIGKILL); });
    taskring::define(until_asked, [] {
        for (int i = 0; i < 20000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
    });
}

void all(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2));
    for (std::uint64_t x = 0; x < 500; x++)
        CHECK(pool.submit(square, x).get() == x * x);
    CHECK(pool.submit(repeat, "abc", 100).get().size() == 300);
    CHECK(pool.submit(repeat, std::string(100000, 'x'), 20).get().size() == 2000000);
    const point scaled = pool.submit(scale, point{1, 2}, 3).get();
    CHECK(scaled.x == 3 && scaled.y == 6);
    const std::vector<int> numbers{1, 2};
    CHECK((pool.submit(label, numbers, "n").get() == std::vector<std::string>{"n1", "n2"}));
    CHECK((pool.submit(label, numbers, std::nullopt).get() == std::vector<std::string>{"no1", "no2"}));
    pool.submit(nothing).get();
    CHECK(thrown<taskring::task_error>([&] { pool.submit(complain, "alas").get(); }) == "alas");
    CHECK(thrown<taskring::task_error>([&] { pool.submit(wrong_square, "x").get(); }).find("another type") != std::string::npos);
    if (method != TASKRING_THREAD) {
        try {
            pool.submit(die).get();
            CHECK(!"it throws");
        } catch (const taskring::worker_lost &e) {
            CHECK(e.loss().signal == SIGKILL && e.loss().may_have_run == 1);
        }
    }

    auto first = pool.submit(until_asked), second = pool.submit(until_asked);
    until_running(first);
    until_running(second);
    auto set = pool.new_set();
    auto pending = pool.submit(set, square, 3u);
    auto other = pool.submit(square, 4u);
    CHECK(!pending.wait_for(2ms));
    thrown<taskring::timeout_error>([&] { pending.get_for(2ms); });
    CHECK(pending.valid() && pending.state() == taskring::state::pending);
    const auto discarded = set.discard();
    CHECK(discarded.cancelled == 1 && discarded.running == 0 && discarded.done == 0);
    thrown<taskring::cancelled_error>([&] { pending.get(); });
    CHECK(!pending.valid() && thrown<taskring::error>([&] { pending.get(); }).find("ticket") != std::string::npos);
    CHECK(other.cancel());
    std::size_t taken = 0;
    std::vector<taskring::future<std::uint64_t>> held;
    while (auto f = pool.try_submit(square, 1u)) {
        held.push_back(std::move(*f));
        taken++;
    }
    CHECK(taken >= 60 && taken < 64);
    CHECK(!first.cancel() && !second.cancel());
    first.get();
    second.get();
    std::size_t seen = 0;
    for (auto &entry : taskring::as_completed(held)) {
        CHECK(entry.future.get() == 1);
        seen++;
    }
    CHECK(seen == taken);
    // A future that is destroyed or replaced lets its task go.
    { auto dropped = pool.submit(square, 5u); }
    auto replaced = pool.submit(square, 6u);
    replaced = pool.submit(square, 7u);
    CHECK(replaced.get() == 49);
    pool.shutdown(true, false);
    CHECK(pool.stats().pending == 0);
    CHECK(thrown<taskring::error>([&] { pool.submit(square, 1u); }).find("shut down") != std::string::npos);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    CHECK(version_in_another_file() == taskring_version());
    all(TASKRING_THREAD);
    all(TASKRING_SPAWN);
    // A pool by name.
    const std::string name = "cpp-" + std::to_string(getpid());
    const taskring::config config = make_config(TASKRING_SPAWN, 1);
    auto owner = taskring::pool::create_named(name, config);
    auto guest = taskring::pool::attach(name);
    CHECK(guest.submit(square, 9u).get() == 81);
    try {
        taskring::pool::create_named(name, config);
        CHECK(!"it throws");
    } catch (const taskring::error &e) {
        CHECK(e.status() == TASKRING_EXISTS);
    }
    std::puts("ok");
}
