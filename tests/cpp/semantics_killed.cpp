// What a killed owner leaves, in C++ (row B11): each case runs itself a second time, as the owner of a pool, and kills that one.
#include "board.hpp"

#include <sys/prctl.h>

namespace {

/// In the environment of the owner: the board, and the name of its pool.
constexpr const char *BOARD = "TASKRING_TEST_BOARD", *NAME = "TASKRING_TEST_NAME";
/// Tasks that count in a cell after a while: more than anybody waits for, and such that are waited for.
constexpr number many = 4000, queued = 40;

const taskring::task<void(std::string)> held{"held"}, count{"count"};

enum cell : std::size_t { entered, submitted, open_gate, left_again, counted };

void hold_until_open(std::string name) {
    auto *const cells = board::at(name);
    cells[entered]++;
    until([&] { return cells[open_gate] != 0; });
    cells[left_again]++;
}

void count_slowly(std::string name) {
    std::this_thread::sleep_for(20ms);
    board::at(name)[counted]++;
}

/// The owner, until it is killed: a task for each of its workers, of which somebody else submits `foreign`, and behind them so many others.
[[noreturn]] void own(std::uint32_t kind, std::uint32_t foreign, number pending) {
    const std::string path = std::getenv(BOARD), name = std::getenv(NAME);
    auto *const cells = board::at(path);
    const auto chosen = make_config(kind, 2 + foreign, 2 * many);
    auto pool = name.empty() ? taskring::pool(chosen) : taskring::pool::create_named(name, chosen);
    for (int i = 0; i < 2; i++)
        pool.submit(held, path);
    until([&] { return cells[entered] == 2 + foreign; });
    for (number i = 0; i < pending; i++)
        pool.submit(count, path);
    cells[submitted] = 1;
    for (;;)
        pause();
}

bool is_owner() { return std::getenv(BOARD) != nullptr; }

/// That owner. What it leaves comes to this process when it is gone.
class owner {
public:
    board cells;
    std::string name;

    owner(std::uint32_t kind, const char *name_of_case, bool named) {
        if (named)
            name = "cpp-killed-" + std::to_string(getpid());
        CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
        CHECK(setenv(BOARD, cells.name().c_str(), 1) == 0 && setenv(NAME, name.c_str(), 1) == 0);
        pid_ = semantics_start(kind, name_of_case);
        until([&] { return cells[entered] == 2; });
    }
    /// Once everything is submitted.
    void kill_it() {
        until([&] { return cells[submitted] == 1; });
        int end = 0;
        CHECK(kill(pid_, SIGKILL) == 0 && waitpid(pid_, &end, 0) == pid_ && WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL);
    }
    /// Until every process that it has left is gone.
    void until_all_are_gone() {
        until([] { return waitpid(-1, nullptr, WNOHANG | __WALL) == -1 && errno == ECHILD; });
    }

private:
    pid_t pid_;
};

void semantics_b11_what_workers_of_a_killed_owner_run_ends_and_they_go(std::uint32_t kind) {
    if (is_owner())
        own(kind, 0, many);
    owner it(kind, __func__, false);
    it.kill_it();
    CHECK(it.cells[left_again] == 0);
    it.cells[open_gate] = 1;
    if (!in_threads(kind))
        until([&] { return it.cells[left_again] == 2; });
    it.until_all_are_gone();
    // A worker may begin one more until it has seen that the owner is gone; a thread is gone with it.
    CHECK(in_threads(kind) ? it.cells[left_again] == 0 && it.cells[counted] == 0 : it.cells[counted] < many);
}

void semantics_b11_who_is_attached_is_served_without_the_killed_owner(std::uint32_t kind) {
    if (is_owner())
        own(kind, 1, queued);
    owner it(kind, __func__, true);
    {
        auto before = taskring::pool::attach(it.name);
        auto running = before.submit(held, it.cells.name());
        auto pending = before.submit(square, 7);
        it.kill_it();
        it.cells[open_gate] = 1;
        if (in_threads(kind)) {
            // They are gone with it, and nobody is left to run the other one.
            thrown<taskring::worker_lost>([&] { running.get_for(LIMIT); });
            CHECK(status_of([&] { pending.get_for(LIMIT); }) == TASKRING_NO_WORKER);
        } else {
            running.get_for(LIMIT);
            CHECK(pending.get_for(LIMIT) == 49);
            until([&] { return it.cells[counted] == queued && it.cells[left_again] == 3; });
            // Others may come still.
            auto after = taskring::pool::attach(it.name);
            CHECK(after.submit(square, 9).get_for(LIMIT) == 81);
        }
    }
    it.until_all_are_gone();
    CHECK(it.cells[counted] == (in_threads(kind) ? 0 : queued) && taskring::remove_dead(it.name));
}

const semantics_case cases[] = {
    CASE(semantics_b11_what_workers_of_a_killed_owner_run_ends_and_they_go),
    CASE(semantics_b11_who_is_attached_is_served_without_the_killed_owner),
};

} // namespace

int main(int argc, char **argv) {
    taskring::define(held, hold_until_open);
    taskring::define(count, count_slowly);
    return run_cases(argc, argv, cases);
}
