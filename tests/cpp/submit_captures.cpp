// Compiles where POOL is thread_pool, and nowhere else.
#include <taskring.hpp>

std::uint64_t submit_captures(taskring::POOL &pool, std::uint64_t offset);

std::uint64_t submit_captures(taskring::POOL &pool, std::uint64_t offset) {
    auto f = pool.submit([offset](std::uint64_t x) { return x + offset; }, 7u);
    return f.get();
}
