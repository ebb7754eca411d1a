// Counts the words of a directory's files in worker processes, prints them as they come, and stops once there are enough.
//
//   c++ -std=c++17 wordcount.cpp $(pkg-config --cflags --libs taskring) -o wordcount && ./wordcount DIR [ENOUGH]
#include <taskring.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

const taskring::task<std::uint64_t(std::string)> count_words{"count_words"};

int main(int argc, char **argv) {
    taskring::define(count_words, [](std::string path) {
        std::ifstream file(path);
        if (!file)
            throw std::runtime_error("cannot read " + path);
        std::uint64_t words = 0;
        for (std::string word; file >> word;)
            words++;
        return words;
    });
    taskring::init(argc, argv);
    if (argc < 2) {
        std::cerr << "usage: wordcount DIR [ENOUGH]\n";
        return 2;
    }
    const std::uint64_t enough = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : UINT64_MAX;

    taskring::pool pool;
    auto set = pool.new_set();
    std::vector<std::string> paths;
    std::vector<taskring::future<std::uint64_t>> counts;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(argv[1])) {
        if (entry.is_regular_file()) {
            paths.push_back(entry.path().string());
            counts.push_back(pool.submit(set, count_words, paths.back()));
        }
    }
    std::uint64_t total = 0;
    for (auto &[i, count] : taskring::as_completed(counts)) {
        try {
            const auto words = count.get();
            total += words;
            std::cout << words << ' ' << paths[i] << '\n';
        } catch (const taskring::task_error &e) {
            std::cerr << e.what() << '\n';
        }
        if (total >= enough)
            break;
    }
    const auto rest = set.discard();
    std::cout << total << " words; " << rest.cancelled << " of " << counts.size() << " files were not begun\n";
}
