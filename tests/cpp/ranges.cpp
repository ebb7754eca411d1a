// Tasks as they end: completion queues, as_completed, callbacks, maps.
#include "check.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <poll.h>
#include <stdexcept>
#if defined(__cpp_lib_ranges)
#include <ranges>
#endif

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<std::string(std::string, int)> repeat{"repeat"};
const taskring::task<void(std::uint64_t)> nothing{"nothing"};
const taskring::task<std::uint64_t(std::uint64_t)> not_three{"not_three"};
const taskring::task<void()> until_asked{"until_asked"};
const taskring::task<std::uint64_t(std::uint64_t)> zero_waits{"zero_waits"};

/// Of pools of threads: zero_waits(0) waits for it.
std::atomic<bool> gate{false};

void define_all() {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(repeat, [](std::string text, int times) {
        std::string all;
        for (int i = 0; i < times; i++)
            all += text;
        return all;
    });
    taskring::define(nothing, [](std::uint64_t) {});
    taskring::define(not_three, [](std::uint64_t x) {
        if (x == 3)
            throw std::runtime_error("three");
        return x;
    });
    taskring::define(until_asked, [] {
        for (int i = 0; i < 30000 && !taskring::cancel_requested(); i++)
            std::this_thread::sleep_for(1ms);
    });
    taskring::define(zero_waits, [](std::uint64_t x) {
        while (x == 0 && !gate)
            std::this_thread::sleep_for(1ms);
        return x;
    });
}

bool is_readable(int fd, std::chrono::milliseconds time) {
    pollfd one{fd, POLLIN, 0};
    const int found = poll(&one, 1, static_cast<int>(time.count()));
    CHECK(found >= 0);
    return found == 1;
}

void queues(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2)), other(make_config(method, 1));
    taskring::completions queue;
    CHECK(!queue.next() && queue.try_next_for(0ms).status() == TASKRING_END);
    auto waits = pool.submit(until_asked);
    auto quick = other.submit(square, 3u);
    quick.wait();
    queue.add(waits, 1);
    queue.add(quick, 2);
    const auto first = queue.next();
    CHECK(first && first->user_data == 2 && first->pool == other.get() && first->ticket == quick.ticket() && quick.get() == 9);
    CHECK(queue.try_next_for(5ms).status() == TASKRING_TIMED_OUT);
    thrown<taskring::timeout_error>([&] { queue.next_for(5ms); });
    const int fd = queue.fd();
    CHECK(!is_readable(fd, 5ms));
    waits.cancel();
    CHECK(is_readable(fd, LIMIT));
    const auto second = queue.next_for(0ms);
    CHECK(second && second->user_data == 1 && !is_readable(fd, 0ms) && !queue.next_for(0ms));
    waits.get();
    CHECK(status_of([&] { queue.add(waits); }) == TASKRING_INVALID_ARGUMENT);
    auto by_option = pool.submit(taskring::options().completions(queue).user_data(9), square, 4u);
    CHECK(queue.next_for(LIMIT)->user_data == 9 && by_option.get() == 16);
}

void as_they_end(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2));
    std::vector<taskring::future<void>> two;
    two.push_back(pool.submit(until_asked));
    until_running(two[0]);
    two.push_back(pool.submit(nothing, 1u));
    std::vector<std::size_t> order;
    for (auto &[index, future] : taskring::as_completed(two, LIMIT)) {
        CHECK(&future == &two[index]);
        order.push_back(index);
        if (index == 1)
            two[0].cancel();
        future.get_for(0ms);
    }
    CHECK((order == std::vector<std::size_t>{1, 0}));
    CHECK(status_of([&] { taskring::as_completed(two); }) == TASKRING_INVALID_ARGUMENT);

    std::array<taskring::future<void>, 2> timed{pool.submit(until_asked), pool.submit(nothing, 1u)};
    until_running(timed[0]);
    timed[1].wait();
    std::size_t seen = 0;
    const auto start = std::chrono::steady_clock::now();
    thrown<taskring::timeout_error>([&] {
        for (auto &entry : taskring::as_completed(timed, 200ms))
            seen += entry.index;
    });
    CHECK(seen == 1 && std::chrono::steady_clock::now() - start >= 200ms);
    auto again = taskring::as_completed(timed, 0ms);
    CHECK(again.begin()->index == 1);
    thrown<taskring::timeout_error>([&] { again.begin(); });
    timed[0].cancel();

    std::list<taskring::future<std::uint64_t>> many;
    for (std::uint64_t x = 0; x < 200; x++)
        many.push_back(pool.submit(square, x));
    std::vector<bool> came(200);
    for (auto &entry : taskring::as_completed(many)) {
        CHECK(!came[entry.index] && entry.future.get() == entry.index * entry.index);
        came[entry.index] = true;
    }
    CHECK(std::count(came.begin(), came.end(), true) == 200);
    std::vector<taskring::future<void>> none;
    for (auto &entry : taskring::as_completed(none))
        CHECK(entry.index > 1000000);
    // Left early, the others are still good.
    std::vector<taskring::future<std::uint64_t>> some;
    for (std::uint64_t x = 0; x < 10; x++)
        some.push_back(pool.submit(square, x));
    for (auto &entry : taskring::as_completed(some)) {
        entry.future.get();
        break;
    }
    std::size_t rest = 0;
    for (auto &f : some)
        rest += f.valid() && f.try_get();
    CHECK(rest == 9);
}

/// Counts what becomes of it.
struct counter {
    std::atomic<int> calls{0}, ends{0};
    std::atomic<bool> other_thread{false};
};

auto callback(counter &counts) {
    const auto end = [](counter *it) { it->ends++; };
    // Move-only.
    return [guard = std::unique_ptr<counter, decltype(end)>(&counts, end), here = std::this_thread::get_id()] {
        guard->other_thread = std::this_thread::get_id() != here;
        guard->calls++;
    };
}

void callbacks(std::uint32_t method) {
    counter over, pending, cancelled, refused, freed;
    taskring::future<void> none;
    {
        taskring::pool pool(make_config(method, 1));
        auto done = pool.submit(square, 5u);
        done.wait();
        done.on_done(callback(over));
        CHECK(over.calls == 1 && over.ends == 1 && !over.other_thread);
        CHECK(done.get() == 25);
        auto running = pool.submit(until_asked);
        until_running(running);
        running.on_done(callback(pending));
        auto never = pool.submit(square, 6u);
        never.on_done(callback(cancelled));
        CHECK(pending.calls == 0 && cancelled.calls == 0 && pending.ends == 0 && cancelled.ends == 0);
        CHECK(never.cancel());
        until([&] { return cancelled.ends == 1; });
        CHECK(pending.calls == 0);
        running.cancel();
        until([&] { return pending.ends == 1; });
        CHECK(pending.other_thread && cancelled.other_thread);
        CHECK(status_of([&] { none.on_done(callback(refused)); }) == TASKRING_INVALID_ARGUMENT);
        pool.submit(nothing, 1u).on_done(callback(freed));
    }
    CHECK(over.calls == 1 && pending.calls == 1 && cancelled.calls == 1 && refused.calls == 0 && refused.ends == 1);
    until([&] { return freed.ends == 1; });
    CHECK(freed.calls == 1 && pending.ends == 1 && cancelled.ends == 1);
}

template <class Map> std::vector<std::uint64_t> all_of(Map &&map) {
    std::vector<std::uint64_t> all;
    for (auto &y : map)
        all.push_back(y);
    return all;
}

std::vector<std::uint64_t> squares(std::uint64_t count) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t x = 0; x < count; x++)
        all.push_back(x * x);
    return all;
}

void maps(std::uint32_t method) {
    using taskring::map_options;
    taskring::pool pool(make_config(method, 2));
    std::vector<std::uint64_t> inputs;
    for (std::uint64_t x = 0; x < 100; x++)
        inputs.push_back(x);
    CHECK(all_of(pool.map(square, inputs)) == squares(100));
    CHECK(all_of(pool.map(square, inputs, map_options().chunk(7).window(3))) == squares(100));
    CHECK(all_of(pool.map(square, inputs, map_options().chunk_auto())) == squares(100));
    CHECK(all_of(pool.map(square, inputs.begin(), inputs.begin() + 10)) == squares(10));
    CHECK(all_of(pool.map(square, std::list<int>{0, 1, 2}, map_options().window(1).timeout(LIMIT))) == squares(3));
    const std::uint32_t array[] = {0, 1, 2, 3};
    CHECK(all_of(pool.map(square, array)) == squares(4));
    CHECK(all_of(pool.map(square, std::vector<std::uint64_t>())).empty());
    for (const std::uint64_t chunk : {1, 4}) {
        std::vector<bool> seen(100);
        auto unordered = pool.map(square, inputs, map_options().unordered().chunk(chunk));
        for (const auto &y : unordered) {
            CHECK(y == unordered.index() * unordered.index() && !seen[unordered.index()]);
            seen[unordered.index()] = true;
        }
        CHECK(std::count(seen.begin(), seen.end(), true) == 100);
    }
    const std::vector<std::pair<const char *, int>> pairs{{"a", 1}, {"bc", 2}, {"d", 100000}};
    std::size_t length = 0;
    for (const auto &text : pool.map(repeat, pairs))
        length += text.size();
    CHECK(length == 1 + 4 + 100000);
    std::size_t times = 0;
    for ([[maybe_unused]] auto &none : pool.map(nothing, inputs))
        times++;
    CHECK(times == 100);
    auto by_hand = pool.map(square, inputs.begin(), inputs.begin() + 2);
    CHECK(*by_hand.next() == 0 && *by_hand.next_for(LIMIT) == 1 && by_hand.index() == 1 && !by_hand.next());
    CHECK(by_hand.try_next().status() == TASKRING_END && by_hand.begin() == by_hand.end());
#if defined(__cpp_lib_ranges)
    static_assert(std::ranges::input_range<taskring::results<std::string>> && std::ranges::input_range<taskring::ended_range<void>>);
    auto doubled = std::views::iota(std::uint64_t(0), std::uint64_t(5)) | std::views::transform([](std::uint64_t x) { return 2 * x; });
    CHECK((all_of(pool.map(square, doubled)) == std::vector<std::uint64_t>{0, 4, 16, 36, 64}));
#endif
}

void failing_tasks(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2));
    const std::vector<std::uint64_t> inputs{0, 1, 2, 3, 4, 5};
    for (const std::uint64_t chunk : {1, 4}) {
        auto map = pool.map(not_three, inputs, taskring::map_options().chunk(chunk));
        std::vector<std::uint64_t> got;
        CHECK(thrown<taskring::task_error>([&] {
                  for (const auto y : map)
                      got.push_back(y);
              }) == "three");
        CHECK(map.index() == 3);
        for (const auto y : map)
            got.push_back(y);
        CHECK((got == std::vector<std::uint64_t>{0, 1, 2, 4, 5}));
        auto tried = pool.map(not_three, inputs, taskring::map_options().chunk(chunk));
        for (std::uint64_t x = 0; x < 6; x++) {
            const auto next = tried.try_next();
            CHECK(x == 3 ? next.status() == TASKRING_TASK_FAILED && next.message() == "three" : *next == x);
        }
        CHECK(tried.try_next().status() == TASKRING_END);
    }
    auto set = pool.new_set();
    set.discard();
    CHECK(status_of([&] { pool.map(square, inputs, taskring::map_options().submit(set)); }) == TASKRING_DISCARDED);
}

/// Counts up to `end`, and says how far it was read. Throws at `bad`, when it is looked at or when it is stepped on to it.
struct numbers {
    struct iterator {
        numbers *of;
        std::uint64_t at;
        std::uint64_t operator*() const {
            of->read = at + 1;
            if (at == of->bad && !of->in_step)
                throw std::domain_error("a bad look");
            return at;
        }
        iterator &operator++() {
            at++;
            if (at == of->bad && of->in_step)
                throw std::domain_error("a bad step");
            return *this;
        }
        bool operator!=(const iterator &other) const { return at != other.at; }
    };
    iterator begin() { return {this, 0}; }
    iterator end() { return {this, count}; }

    std::uint64_t count = UINT64_MAX, bad = UINT64_MAX;
    bool in_step = false;
    std::uint64_t read = 0;
};

void failing_inputs(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2));
    for (const bool unordered : {false, true}) {
        for (const std::uint64_t chunk : {1, 2, 5, 8}) {
            for (const bool in_step : {false, true}) {
                for (const std::uint64_t window : {0, 1}) {
                    numbers from{100, 5, in_step};
                    auto map = pool.map(square, from, taskring::map_options().unordered(unordered).chunk(chunk).window(window));
                    std::size_t got = 0;
                    CHECK(thrown<std::domain_error>([&] {
                              for (const auto y : map)
                                  got += y == map.index() * map.index();
                          }) == (in_step ? "a bad step" : "a bad look"));
                    CHECK(got == 5 && map.index() == 5 && !map.next() && map.try_next().status() == TASKRING_END);
                }
            }
        }
    }
    numbers at_once{10, 0};
    auto map = pool.map(square, at_once);
    thrown<std::domain_error>([&] { map.next(); });
    CHECK(!map.next());
}

void lazy_inputs(std::uint32_t method) {
    taskring::pool pool(make_config(method, 2));
    numbers endless;
    {
        auto map = pool.map(square, endless, taskring::map_options().window(3));
        CHECK(endless.read == 3);
        for (std::uint64_t x = 0; x < 50; x++) {
            CHECK(*map.next() == x * x && endless.read <= x + 4);
        }
    }
    numbers given;
    std::uint64_t last = 0;
    for (const auto y : pool.map(square, given, taskring::map_options().window(4).chunk(2))) {
        last = y;
        if (y > 1000)
            break;
    }
    CHECK(last == 32 * 32 && given.read <= 33 + 10);
    // What is left early cancels what has not started.
    auto first = pool.submit(until_asked), second = pool.submit(until_asked);
    until_running(first);
    until_running(second);
    const std::vector<std::uint64_t> inputs(10, 1);
    {
        auto map = pool.map(square, inputs);
        CHECK(pool.stats().pending == 10 && map.try_next_for(1ms).status() == TASKRING_TIMED_OUT);
    }
    CHECK(pool.stats().pending == 0);
    // Unless no result was asked for.
    { auto map = pool.map(square, inputs); }
    CHECK(pool.stats().pending == 10);
    // What is cancelled is still gone through.
    auto stopped = pool.map(square, inputs, taskring::map_options().chunk(4));
    stopped.cancel();
    for (int i = 0; i < 10; i++)
        thrown<taskring::cancelled_error>([&] { stopped.next(); });
    CHECK(!stopped.next());
    first.cancel();
    second.cancel();
}

void slow_results() {
    taskring::pool pool(make_config(TASKRING_THREAD, 2));
    const std::vector<std::uint64_t> inputs{0, 1, 2};
    gate = false;
    {
        auto unordered = pool.map(zero_waits, inputs, taskring::map_options().unordered());
        for (int i = 0; i < 2; i++) {
            const auto y = unordered.next_for(LIMIT);
            CHECK(y && *y != 0 && *y == unordered.index());
        }
        CHECK(unordered.try_next_for(5ms).status() == TASKRING_TIMED_OUT);
        gate = true;
        CHECK(*unordered.next_for(LIMIT) == 0 && unordered.index() == 0 && !unordered.next());
    }
    gate = false;
    {
        auto ordered = pool.map(zero_waits, inputs);
        thrown<taskring::timeout_error>([&] { ordered.next_for(5ms); });
        gate = true;
        CHECK(all_of(ordered) == inputs);
    }
    for (const bool unordered : {false, true}) {
        gate = false;
        std::size_t got = 0;
        const auto start = std::chrono::steady_clock::now();
        auto map = pool.map(zero_waits, inputs, taskring::map_options().unordered(unordered).timeout(200ms));
        thrown<taskring::timeout_error>([&] {
            for ([[maybe_unused]] const auto y : map)
                got++;
        });
        CHECK(std::chrono::steady_clock::now() - start >= 200ms && got <= (unordered ? 2 : 0) && !map.next());
        gate = true;
        until([&] { return pool.stats().running == 0; });
    }
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    for (const std::uint32_t method : {TASKRING_THREAD, TASKRING_SPAWN}) {
        queues(method);
        as_they_end(method);
        callbacks(method);
        maps(method);
        failing_tasks(method);
        failing_inputs(method);
        lazy_inputs(method);
    }
    slow_results();
    std::puts("ok");
}
