// The reference page's examples in C++, and that of the page on pools of processes: see page.rs for what they print.
#include "seeds.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace {

const taskring::task<std::string(std::uint64_t, std::uint64_t)> power_of{"power_of"};
const taskring::task<void(std::string, std::string)> copy{"copy"};
const taskring::task<std::uint64_t(std::string)> load{"load"};
const taskring::task<bool(std::uint64_t)> is_prime{"is_prime"};
const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
const taskring::task<void(std::uint64_t)> doze{"doze"};
const taskring::task<int(int)> wait_on{"wait_on"};
const taskring::task<void()> wait_on_own{"wait_on_own"};

/// Two tasks that wait for each other, in threads of this process: the futures are there for both once it is said so.
taskring::future<int> pair_of[2];
std::atomic<bool> placed{false};

/// All decimals of a power.
std::string all_decimals(std::uint64_t base, std::uint64_t exponent) {
    constexpr std::uint64_t BILLION = 1000000000;
    // Nine decimals in each, the lowest first.
    std::vector<std::uint64_t> digits{1};
    for (std::uint64_t i = 0; i < exponent; i++) {
        std::uint64_t carry = 0;
        for (auto &part : digits) {
            carry += part * base;
            part = carry % BILLION;
            carry /= BILLION;
        }
        if (carry != 0)
            digits.push_back(carry);
    }
    std::string text = std::to_string(digits.back());
    for (auto part = digits.rbegin() + 1; part != digits.rend(); ++part)
        text += std::to_string(BILLION + *part).substr(1);
    return text;
}

void define_tasks() {
    taskring::define(power_of, all_decimals);
    taskring::define(copy, [](std::string from, std::string to) { std::filesystem::copy_file(from, to); });
    taskring::define(load, [](std::string page) -> std::uint64_t {
        std::error_code why;
        const auto size = std::filesystem::file_size(page, why);
        if (why)
            throw std::runtime_error(why.message());
        return size;
    });
    taskring::define(is_prime, [](std::uint64_t n) {
        bool prime = n == 2 || (n > 2 && n % 2 == 1);
        for (std::uint64_t d = 3; prime && d * d <= n; d += 2)
            prime = n % d != 0;
        return prime;
    });
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(doze, [](std::uint64_t seconds) { std::this_thread::sleep_for(std::chrono::seconds(seconds)); });
    // What it gives itself is 5 when it waits for the second, else 6.
    taskring::define(wait_on, [](int which) {
        until([] { return placed.load(); });
        try {
            std::printf("a task: the other one gives %d\n", pair_of[which].result());
        } catch (const taskring::would_deadlock_error &) {
            std::printf("a task: its wait could never end\n");
        }
        return which == 1 ? 5 : 6;
    });
    // The only worker runs this task: it runs the other one on top of it.
    taskring::define(wait_on_own, [] { std::printf("a task: %s\n", taskring::pool::current().submit(power_of, 5, 2).get().c_str()); });
}

taskring::pool threads(std::uint32_t count) { return taskring::pool(make_config(TASKRING_THREAD, count)); }

void power() {
    auto pool = threads(1);
    const std::string text = pool.submit(power_of, 323, 1235).get();
    std::printf("main: %zu digits, from %s to %s\n", text.size(), text.substr(0, 12).c_str(), text.substr(text.size() - 12).c_str());
}

void two_wait_for_each_other() {
    auto pool = threads(2);
    for (int n : {0, 1})
        pair_of[n] = pool.submit(wait_on, 1 - n);
    placed = true;
    for (const auto &one : pair_of)
        one.wait();
    // Both are over: nobody looks at the futures any more.
    const int a = pair_of[0].get(), b = pair_of[1].get();
    std::printf("main: %d and %d\n", a, b);
}

void one_waits_for_its_own_submit() {
    auto pool = threads(1);
    pool.submit(wait_on_own).get();
    std::printf("main: it is over\n");
}

void four_copies() {
    {
        auto pool = threads(4);
        for (int n = 1; n <= 4; n++)
            pool.submit(copy, "from" + std::to_string(n) + ".txt", "to" + std::to_string(n) + ".txt");
    }
    for (int n = 1; n <= 4; n++) {
        std::string line;
        std::getline(std::ifstream("to" + std::to_string(n) + ".txt"), line);
        std::printf("main: to%d.txt has %s\n", n, line.c_str());
    }
}

void pages() {
    auto pool = threads(5);
    const std::vector<std::string> all{"page1.html", "page2.html", "page3.html", "page4.html", "missing.html"};
    std::vector<taskring::future<std::uint64_t>> futures;
    for (const auto &page : all)
        futures.push_back(pool.submit(load, page));
    for (auto &ended : taskring::as_completed(futures)) {
        const char *page = all[ended.index].c_str();
        try {
            std::printf("%s has %d bytes\n", page, static_cast<int>(ended.future.get()));
        } catch (const taskring::task_error &e) {
            std::printf("%s generated an exception: %s\n", page, e.what());
        }
    }
}

void primes() {
    const std::vector<std::uint64_t> numbers{112272535095293, 112582705942171, 112272535095293,
                                             115280095190773, 115797848077099, 1099726899285419};
    taskring::pool pool;
    auto number = numbers.begin();
    for (const bool prime : pool.map(is_prime, numbers))
        std::printf("%s is prime: %s\n", std::to_string(*number++).c_str(), prime ? "true" : "false");
}

void pool_of_processes() {
    taskring::multi_pool multi(make_config(TASKRING_SPAWN, 4));
    std::vector<int> inputs;
    for (int i = 0; i < 10; i++)
        inputs.push_back(i);

    auto result = multi.apply_async(square, 10);
    std::printf("main: %d\n", static_cast<int>(result.get_for(LIMIT)));

    std::printf("main:");
    for (const auto found : multi.map(square, inputs))
        std::printf(" %d", static_cast<int>(found));
    std::printf("\n");

    auto results = multi.imap(square, inputs);
    std::printf("main: %d\n", static_cast<int>(*results.next()));
    std::printf("main: %d\n", static_cast<int>(*results.next()));
    std::printf("main: %d\n", static_cast<int>(*results.next_for(LIMIT)));

    auto sleeps = multi.apply_async(doze, 10);
    try {
        sleeps.get_for(100ms);
    } catch (const taskring::timeout_error &) {
        std::printf("main: it timed out\n");
    }
    // The end of such a pool does not wait for it.
}

} // namespace

int main(int argc, char **argv) {
    define_tasks();
    taskring::init(argc, argv);
    return run_example(argc, argv,
                       {{"power", power},
                        {"two_wait_for_each_other", two_wait_for_each_other},
                        {"one_waits_for_its_own_submit", one_waits_for_its_own_submit},
                        {"four_copies", four_copies},
                        {"pages", pages},
                        {"primes", primes},
                        {"pool_of_processes", pool_of_processes}});
}
