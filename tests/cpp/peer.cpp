// One side of a pool between languages: peer work NAME, or peer submit NAME.
#include <taskring.hpp>

#include <cstdio>

int main(int argc, char **argv) {
    const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
    const taskring::task<std::uint64_t(std::uint16_t)> wrong{"square"};
    // Sends the squares below its argument.
    const taskring::task<void(std::uint64_t)> squares{"squares"};
    if (argc != 3)
        return 2;
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    taskring::define(squares, [](std::uint64_t to) {
        for (std::uint64_t x = 0; x < to; x++)
            taskring::send_event(x * x);
    });
    if (argv[1] == std::string("work")) {
        taskring::work(argv[2]);
        return 0;
    }
    auto pool = taskring::pool::attach(argv[2]);
    for (std::uint64_t x = 0; x < 100; x++) {
        if (pool.submit(square, x).get() != x * x)
            return 3;
    }
    std::uint64_t x = 0;
    auto sending = pool.submit(squares, 20u);
    for (auto &y : sending.events<std::uint64_t>()) {
        if (y != x * x)
            return 5;
        x++;
    }
    if (x != 20)
        return 6;
    try {
        pool.submit(wrong, 1).get();
        return 4;
    } catch (const taskring::task_error &) {
        return 0;
    }
}
