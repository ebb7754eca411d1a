// Each CASE must not compile, and the compiler says why.
#include <taskring.hpp>

void misfit(taskring::pool &pool, taskring::thread_pool &threads);

void misfit(taskring::pool &pool, taskring::thread_pool &threads) {
    const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
    (void)pool, (void)threads, (void)square;
#if CASE == 1
    pool.submit(square, "seven");
#elif CASE == 2
    pool.submit(square, 7, 8);
#elif CASE == 3
    const taskring::task<std::string_view(std::string)> tail{"tail"};
    pool.submit(tail, "text");
#elif CASE == 4
    const taskring::task<int(std::vector<std::string_view>)> count{"count"};
    taskring::define(count, [](std::vector<std::string_view> all) { return static_cast<int>(all.size()); });
#elif CASE == 5
    const taskring::task<int(const int *)> look{"look"};
    pool.submit(look, nullptr);
#elif CASE == 6
    threads.submit([](int x) { return x; }, "seven");
#elif CASE == 7
    threads.submit([] { return std::unique_ptr<int>(); });
#elif CASE == 8
    pool.try_submit([] { return 7; });
#elif CASE == 9
    const taskring::task<int()> seven{"seven"};
    pool.map(seven, std::vector<int>{1});
#elif CASE == 10
    pool.submit(taskring::options(), [] { return 7; });
#elif CASE == 11 && defined(__cpp_lib_span)
    const taskring::task<void(std::span<double>)> change{"change"};
    std::vector<double> numbers(3);
    pool.submit(change, numbers);
#endif
}
