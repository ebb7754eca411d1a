// Lambdas with captures in pools of threads: what they may be, and that each is destroyed once, however it ends.
#include "check.hpp"

#include <array>
#include <atomic>

namespace {

const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};

/// How often what it guards was ended. Of one that is moved on, the last owner ends it.
struct ends {
    std::atomic<int> count{0};
    struct end {
        void operator()(ends *it) const { it->count++; }
    };
    std::unique_ptr<ends, end> guard() { return std::unique_ptr<ends, end>(this); }
};

/// Tasks that run until it is opened.
struct gate {
    std::atomic<bool> open{false};
    auto wait() {
        return [this] {
            const auto start = std::chrono::steady_clock::now();
            while (!open && std::chrono::steady_clock::now() - start < LIMIT)
                std::this_thread::sleep_for(1ms);
        };
    }
};

taskring::config threads(std::uint32_t workers, std::uint32_t capacity = 64) { return make_config(TASKRING_SPAWN, workers, capacity); }

struct adder {
    int base = 0;
    int add(int x) const { return base + x; }
};

int minus(int x, int y) { return x - y; }

void kinds() {
    taskring::thread_pool pool(threads(2));
    int seen = 0;
    pool.submit([&seen] { seen = 7; }).get();
    CHECK(seen == 7);
    const std::string text = "text";
    CHECK(pool.submit([text](std::size_t n) { return text.substr(n); }, 2).get() == "xt");
    CHECK(pool.submit(minus, 5, 3).get() == 2 && pool.submit(&minus, 3, 5).get() == -2);
    CHECK(pool.submit(&adder::add, adder{40}, 2).get() == 42);
    const adder kept{30};
    CHECK(pool.submit(&adder::add, &kept, 2).get() == 32);
    CHECK(pool.submit([](const std::unique_ptr<int> &p) { return *p; }, std::make_unique<int>(9)).get() == 9);
    CHECK(pool.submit([p = std::make_unique<int>(8)]() mutable { return std::exchange(*p, 0); }).get() == 8);
    int changed = 1;
    pool.submit([](int &x) { x = 2; }, std::ref(changed)).get();
    CHECK(changed == 2);
    const auto lines = pool.submit([] { return std::vector<std::string>{"a", std::string(100000, 'b')}; }).get();
    CHECK(lines.size() == 2 && lines[1].size() == 100000);
    CHECK(thrown<taskring::task_error>([&] { pool.submit([]() -> int { throw std::runtime_error("alas"); }).get(); }) == "alas");
    CHECK(pool.submit([] { throw 7; }).try_get().status() == TASKRING_TASK_FAILED);
    const std::function<int(int)> function = [](int x) { return x + 1; };
    CHECK(pool.submit(function, 1).get() == 2);
    // Tasks by name, as in any pool; and from inside of a closure.
    CHECK(pool.submit(square, 3u).get() == 9 && pool.try_submit(square, 4u)->get() == 16 && pool.try_submit_for(LIMIT, square, 5u)->get() == 25);
    CHECK(pool.try_submit_for(LIMIT, [&text] { return text; })->get() == text);
    CHECK(pool.submit([&pool] { return pool.submit(square, 5u).get(); }).get() == 25);
    std::uint64_t sum = 0;
    for (const auto y : pool.map(square, std::array<int, 3>{1, 2, 3}))
        sum += y;
    CHECK(sum == 14);
    auto asked = pool.submit([] {
        while (!taskring::cancel_requested())
            std::this_thread::sleep_for(1ms);
        return true;
    });
    until_running(asked);
    CHECK(!asked.cancel() && asked.get_for(LIMIT));
    taskring::completions queue;
    auto by_option = pool.submit(taskring::options().completions(queue, 3), [seen] { return seen; });
    CHECK(queue.next_for(LIMIT)->user_data == 3 && by_option.get() == 7);
    auto moved = std::move(pool);
    CHECK(moved.submit([seen] { return seen; }).get() == 7);
    auto made = taskring::thread_pool::try_make(threads(1));
    CHECK(made && made->submit([seen] { return seen; }).get() == 7);
    CHECK(taskring::thread_pool::try_make(threads(100000)).status() == TASKRING_INVALID_ARGUMENT);
}

/// Those that are called are ended before their results are there, whatever they do.
void ended_after_the_call() {
    taskring::thread_pool pool(threads(1));
    for (int i = 0; i < 200; i++) {
        ends ran, threw, argument;
        pool.submit([guard = ran.guard()] {}).get();
        CHECK(ran.count == 1);
        const auto failed = pool.submit([guard = threw.guard()] { throw std::runtime_error("alas"); }).try_get();
        CHECK(failed.status() == TASKRING_TASK_FAILED && threw.count == 1);
        CHECK(pool.submit([](const auto &guard) { return guard != nullptr; }, argument.guard()).get() && argument.count == 1);
    }
}

void ended_uncalled() {
    ends cancelled, discarded, refused, timed, late;
    std::atomic<int> calls{0};
    const auto code = [&calls](ends &of) { return [&calls, guard = of.guard()] { calls++; }; };
    gate hold;
    taskring::thread_pool pool(threads(1, 4));
    auto running = pool.submit(hold.wait());
    until_running(running);
    {
        auto pending = pool.submit(code(cancelled));
        CHECK(cancelled.count == 0 && pending.cancel());
        until([&] { return cancelled.count == 1; });
        CHECK(pending.try_get().status() == TASKRING_CANCELLED);
    }
    auto set = pool.new_set();
    auto of_set = pool.submit(set, code(discarded));
    CHECK(discarded.count == 0 && set.discard().cancelled == 1);
    until([&] { return discarded.count == 1; });
    CHECK(of_set.try_get().status() == TASKRING_CANCELLED);
    // What is not submitted is gone at once.
    CHECK(status_of([&] { pool.submit(set, code(late)); }) == TASKRING_DISCARDED && late.count == 1);
    std::vector<taskring::future<void>> held;
    auto more = pool.try_submit([] {});
    for (; more; more = pool.try_submit([] {}))
        held.push_back(std::move(*more));
    CHECK(more.status() == TASKRING_FULL && held.size() == 3);
    CHECK(pool.try_submit(code(refused)).status() == TASKRING_FULL && refused.count == 1);
    CHECK(pool.try_submit_for(5ms, code(timed)).status() == TASKRING_TIMED_OUT && timed.count == 1);
    CHECK(pool.try_submit_for(5ms, taskring::options(), code(timed)).status() == TASKRING_TIMED_OUT && timed.count == 2);
    CHECK(pool.try_submit_for(5ms, square, 1u).status() == TASKRING_TIMED_OUT);
    hold.open = true;
    running.get();
    for (auto &f : held)
        f.get();
    pool.shutdown(true, false);
    CHECK(pool.try_submit(code(late)).status() == TASKRING_SHUT_DOWN && late.count == 2);
    CHECK(status_of([&] { pool.submit(code(late)); }) == TASKRING_SHUT_DOWN && late.count == 3);
    CHECK(calls == 0 && cancelled.count == 1 && discarded.count == 1 && refused.count == 1);
}

/// A future that is let go lets its closure run.
void ended_after_a_release() {
    ends pending, running;
    std::atomic<int> calls{0};
    gate hold;
    taskring::thread_pool pool(threads(1));
    {
        auto first = pool.submit([wait = hold.wait(), guard = running.guard(), &calls] {
            calls++;
            wait();
        });
        until_running(first);
        auto second = pool.submit([guard = pending.guard(), &calls] { calls++; });
    }
    CHECK(running.count == 0 && pending.count == 0 && calls == 1);
    hold.open = true;
    until([&] { return running.count == 1 && pending.count == 1; });
    CHECK(calls == 2);
}

/// The end of a pool that waits, or does not (then they may be running when it is gone), and runs what is pending, or does not.
void ended_with_the_pool() {
    for (const bool waits : {true, false}) {
        for (const bool cancels : {false, true}) {
            ends running, pending;
            std::atomic<int> calls{0};
            gate hold;
            std::thread opens;
            {
                taskring::thread_pool pool(threads(1));
                auto first = pool.submit([wait = hold.wait(), guard = running.guard(), &calls] {
                    wait();
                    calls++;
                });
                until_running(first);
                auto second = pool.submit([guard = pending.guard(), &calls] { calls++; });
                opens = std::thread([&] {
                    until([&] { return !cancels || pending.count == 1; });
                    hold.open = waits;
                });
                if (!waits || cancels)
                    pool.shutdown(waits, cancels);
            }
            opens.join();
            CHECK(waits || running.count == 0);
            hold.open = true;
            until([&] { return running.count == 1 && pending.count == 1; });
            CHECK(calls == (cancels ? 1 : 2));
        }
    }
}

void many_at_once() {
    constexpr int THREADS = 4, EACH = 500;
    std::vector<ends> all(THREADS * EACH);
    std::atomic<int> sum{0}, cancelled{0};
    {
        taskring::thread_pool pool(threads(3, 32));
        std::vector<std::thread> submitters;
        for (int t = 0; t < THREADS; t++) {
            submitters.emplace_back([&, t] {
                for (int i = 0; i < EACH; i++) {
                    auto f = pool.submit([&sum, guard = all[static_cast<std::size_t>(t * EACH + i)].guard()](int x) { sum += x; }, 1);
                    if (i % 3 == 0)
                        f.get();
                    else if (i % 3 == 1 && f.cancel())
                        cancelled++;
                }
            });
        }
        for (auto &one : submitters)
            one.join();
    }
    until([&] {
        int ended = 0;
        for (const ends &one : all)
            ended += one.count;
        return ended >= THREADS * EACH;
    });
    for (const ends &one : all)
        CHECK(one.count == 1);
    CHECK(sum + cancelled == THREADS * EACH);
}

} // namespace

int main(int argc, char **argv) {
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::init(argc, argv);
    kinds();
    ended_after_the_call();
    ended_uncalled();
    ended_after_a_release();
    ended_with_the_pool();
    many_at_once();
    std::puts("ok");
}
