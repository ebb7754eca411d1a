// Counters that this program shares with its workers, and tasks that are seen at work there and wait for what is set there.
#ifndef TASKRING_TESTS_BOARD_HPP
#define TASKRING_TESTS_BOARD_HPP

#include "semantics_shared.hpp"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/syscall.h>

/// Cells, all 0 at first, in a file that goes with it.
class board {
public:
    using cell = std::atomic<number>;
    static constexpr std::size_t cells = 32;

    board() {
        const int fd = mkstemp(path_);
        CHECK(fd >= 0 && ftruncate(fd, cells * sizeof(cell)) == 0 && close(fd) == 0);
        cells_ = at(path_);
    }
    board(const board &) = delete;
    board &operator=(const board &) = delete;
    ~board() { unlink(path_); }
    cell &operator[](std::size_t i) const {
        CHECK(i < cells);
        return cells_[i];
    }
    /// What tasks call it.
    std::string name() const { return path_; }
    /// Its cells, in a task. Mapped once in each process.
    static cell *at(const std::string &name) {
        static std::mutex mutex;
        static std::map<std::string, cell *> mapped;
        const std::lock_guard<std::mutex> guard(mutex);
        cell *&found = mapped[name];
        if (found == nullptr) {
            const int fd = open(name.c_str(), O_RDWR | O_CLOEXEC);
            void *at = mmap(nullptr, cells * sizeof(cell), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            CHECK(fd >= 0 && at != MAP_FAILED && close(fd) == 0);
            found = static_cast<cell *>(at);
        }
        return found;
    }

private:
    char path_[32] = "/tmp/taskring-board-XXXXXX";
    cell *cells_ = nullptr;
};

/// Counts in a cell and gives what was there.
inline const taskring::task<number(std::string, number)> count_in{"count_in"};
/// Counts in a cell, waits for the next one, and gives its own number.
inline const taskring::task<number(std::string, number)> hold{"hold"};
/// The same, and then it takes its worker with it. The last argument is the process of the pool's owner.
inline const taskring::task<void(std::string, number, pid_t)> die_when_told{"die_when_told"};

/// Ends this worker alone: its process, or in the owner's the thread, as nothing but a defect could.
inline void end_worker(pid_t owner) {
    if (getpid() != owner)
        std::raise(SIGKILL);
    syscall(SYS_exit, 0);
}

inline void count_and_wait(const std::string &name, number cell) {
    board::cell *cells = board::at(name);
    cells[cell]++;
    until([&] { return cells[cell + 1] != 0; });
}

inline void define_board_tasks() {
    taskring::define(count_in, [](std::string name, number cell) { return board::at(name)[cell]++; });
    taskring::define(hold, [](std::string name, number cell) {
        count_and_wait(name, cell);
        return cell;
    });
    taskring::define(die_when_told, [](std::string name, number cell, pid_t owner) {
        count_and_wait(name, cell);
        end_worker(owner);
    });
}

/// The loss of the worker that ran a task.
template <class R> taskring_loss loss_of(taskring::future<R> &task) {
    try {
        task.get_for(LIMIT);
    } catch (const taskring::worker_lost &e) {
        return e.loss();
    }
    CHECK(!"a lost worker");
    return {};
}

/// Waits until no child is left, other than this process's own children that it has waited for.
inline void until_childless() {
    until([] {
        siginfo_t found;
        return waitid(P_ALL, 0, &found, WEXITED | WNOHANG | WNOWAIT | __WALL) == -1 && errno == ECHILD;
    });
}

#endif
