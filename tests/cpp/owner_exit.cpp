// The owner of a pool ends: as tests/c/owner_exit.c, by the wrapper.
#include "check.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>

namespace fs = std::filesystem;

namespace {

const taskring::task<void(std::string, std::string, std::string)> copy{"copy"};

void copy_it(std::string from, std::string to, std::string after) {
    until([&] { return fs::exists(after); });
    fs::copy_file(from, to);
}

taskring::future<void> submit_copy(taskring::pool &pool, const fs::path &folder, int n) {
    const auto name = [&](const char *kind) { return (folder / (kind + std::to_string(n))).string(); };
    return pool.submit(copy, name("from"), name("to"), (folder / "end").string());
}

void at_the_end(const fs::path &folder) {
    for (int n = 0; n < 4; n++)
        CHECK(!fs::exists(folder / ("to" + std::to_string(n))));
    std::ofstream(folder / "end").close();
}

std::uint32_t method_of(const std::string &name) {
    return name == "thread" ? TASKRING_THREAD : name == "spawn" ? TASKRING_SPAWN : name == "fork" ? TASKRING_FORK : TASKRING_FORKSERVER;
}

} // namespace

int main(int argc, char **argv) {
    taskring::define(copy, copy_it);
    taskring::init(argc, argv);
    CHECK(argc == 4);
    const std::string how = argv[2];
    const fs::path folder = argv[3];
    taskring::config chosen = make_config(method_of(argv[1]), how == "cancels" ? 1 : 2);
    chosen.exit_wait_max_ns = how == "limited" ? 200000000 : 0;
    chosen.detach_on_exit = how == "detached";
    // What is static is destroyed by the end of the process, which has waited then.
    static std::unique_ptr<taskring::pool> pool;
    pool = std::make_unique<taskring::pool>(chosen);
    {
        auto first = submit_copy(*pool, folder, 0);
        until_running(first);
        for (int n = 1; n < 4; n++)
            submit_copy(*pool, folder, n);
    }
    if (how == "shutdown" || how == "freed")
        pool->shutdown(false, false);
    if (how == "cancels")
        pool->shutdown(false, true);
    if (how == "freed")
        pool.reset();
    if (how == "limited" || how == "detached") {
        // The destructor finds nothing left of a pool whose workers were killed; of another one it would wait for tasks that never end.
        if (how == "detached" || chosen.start_method == TASKRING_THREAD)
            (void)pool.release();
        return 0;
    }
    at_the_end(folder);
    if (how == "exit")
        std::exit(7);
    return 0;
}
