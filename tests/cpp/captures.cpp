// This must not compile.
#include <taskring.hpp>

void captures(std::uint64_t offset) {
    const taskring::task<std::uint64_t(std::uint64_t)> add{"add"};
    taskring::define(add, [offset](std::uint64_t x) { return x + offset; });
    const taskring::context<int()> counters{"counters"};
    taskring::define(counters, [offset] { return static_cast<int>(offset); });
    taskring::define(counters, add, [offset](int &, std::uint64_t x) { return x + offset; });
}
