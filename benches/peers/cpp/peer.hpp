// What the helpers in C++ share: pinning, the tasks, and the orders of the bench (see foreign.rs).
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <sched.h>
#include <stdexcept>
#include <string>

namespace peer {

inline std::uint64_t square(std::uint64_t x) { return x * x; }

// The sum of the answers of so many tasks.
inline std::uint64_t expected(std::uint64_t count) {
    std::uint64_t sum = 0;
    for (std::uint64_t x = 0; x < count; ++x) sum += square(x);
    return sum;
}

// The calling thread on one CPU, and all threads that it starts later.
inline void pin(int cpu) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) throw std::runtime_error("sched_setaffinity");
}

// One way to run tasks: the sum of the answers of so many.
using run = std::function<std::uint64_t(std::uint64_t)>;

// A way, its part of the bench, and the tasks of a round.
struct way {
    std::string part;
    std::uint64_t count;
    peer::run run;
};

inline double timed(const run &run, std::uint64_t count) {
    run(count < 20 ? count : 20);
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t sum = run(count);
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    if (sum != expected(count)) throw std::runtime_error("a wrong sum of answers");
    return elapsed.count() / static_cast<double>(count);
}

// Tells what can be measured, then measures what is ordered until the input ends.
inline int serve(const std::map<std::string, way> &ways) {
    for (const auto &[name, way] : ways)
        std::printf("can\t%s\t%s\t%llu\n", way.part.c_str(), name.c_str(), static_cast<unsigned long long>(way.count));
    std::printf("ready\n");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        const auto tab = line.find('\t');
        const std::string name = line.substr(0, tab);
        try {
            const double ns = timed(ways.at(name).run, std::stoull(line.substr(tab + 1)));
            std::printf("%s\t%.1f\n", name.c_str(), ns);
        } catch (const std::exception &why) {
            std::printf("failed\t%s\n", why.what());
        }
        std::fflush(stdout);
    }
    return 0;
}

} // namespace peer
