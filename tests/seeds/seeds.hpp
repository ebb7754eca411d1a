// What the examples in C++ share: a main that runs the example it is told.
#ifndef TASKRING_TESTS_SEEDS_HPP
#define TASKRING_TESTS_SEEDS_HPP

#include "../cpp/check.hpp"

#include <map>

/// The example that the command line names.
inline int run_example(int argc, char **argv, const std::map<std::string, void (*)()> &all) {
    const auto found = all.find(argc == 2 ? argv[1] : "");
    if (found == all.end())
        return std::fprintf(stderr, "no such example\n"), 1;
    found->second();
    return 0;
}

#endif
