// Section P of the contract in C++, continued: how pools end. By a worker's death, by the end of their workers, and with the program that owns them (B11,
// T7 and PM too).
#include "board.hpp"

#include <dirent.h>
#include <fstream>
#include <optional>

namespace {

/// A pool with a running task for each of its workers: the n-th counts in cell 2n, and ends when cell 2n + 1 is set.
struct busy_pool {
    /// Counted by those that are pending.
    static constexpr number ran = 30;

    board cells;
    taskring::pool pool;
    std::vector<taskring::future<number>> running, pending;

    busy_pool(std::uint32_t kind, std::uint32_t workers, std::uint32_t on_worker_death = TASKRING_DEATH_FAILS_TASK)
        : pool(chosen(kind, workers, on_worker_death)) {
        for (std::uint32_t n = 0; n < workers; n++)
            running.push_back(pool.submit(hold, cells.name(), 2 * n));
        // Not before they are there: a task whose worker dies before that is not lost.
        for (std::uint32_t n = 0; n < workers; n++)
            until([&] { return cells[2 * n] == 1; });
        for (int i = 0; i < 10; i++)
            pending.push_back(pool.submit(count_in, cells.name(), ran));
    }
    static taskring::config chosen(std::uint32_t kind, std::uint32_t workers, std::uint32_t on_worker_death) {
        auto made = make_config(kind, workers);
        made.on_worker_death = on_worker_death;
        return made;
    }
    void let_go() {
        for (std::size_t n = 0; n < running.size(); n++)
            cells[2 * n + 1] = 1;
    }
    /// All that were pending are cancelled, and those that ran were lost by this signal.
    void check_ended(int signal) {
        for (auto &one : pending)
            thrown<taskring::cancelled_error>([&] { one.get_for(LIMIT); });
        for (auto &one : running) {
            const auto loss = loss_of(one);
            CHECK(loss.signal == signal && loss.may_have_run == 1);
        }
        CHECK(cells[ran] == 0);
    }
};

/// A pool that breaks with a worker, and a task that takes its worker with it when cell 1 is set. There are no others for it than the first two cells.
struct breaking_pool {
    board cells;
    taskring::pool pool;
    taskring::future<void> victim;

    breaking_pool(std::uint32_t kind, std::uint32_t workers, std::uint32_t on_worker_death = TASKRING_DEATH_BREAKS_POOL)
        : pool(busy_pool::chosen(kind, workers, on_worker_death)), victim(pool.submit(die_when_told, cells.name(), 0, getpid())) {
        until([&] { return cells[0] == 1; });
    }
};

taskring_status submit_status(taskring::pool &pool) { return pool.try_submit(square, 4).status(); }

/// The class of the error of a broken pool of this kind.
template <class F> std::string broken(std::uint32_t kind, F f) {
    if (kind == TASKRING_INTERPRETER)
        return thrown<taskring::broken_interpreter_pool>(f);
    return in_threads(kind) ? thrown<taskring::broken_thread_pool>(f) : thrown<taskring::broken_process_pool>(f);
}

void semantics_p9_a_pool_that_breaks_with_a_worker_starts_nothing_and_lets_others_end(std::uint32_t kind) {
    breaking_pool it(kind, 2);
    auto other = it.pool.submit(hold, it.cells.name(), 2);
    until([&] { return it.cells[2] == 1; });
    std::vector<taskring::future<number>> pending;
    for (int i = 0; i < 10; i++)
        pending.push_back(it.pool.submit(count_in, it.cells.name(), 4));
    it.cells[1] = 1;
    for (auto &one : pending)
        broken(kind, [&] { one.get_for(LIMIT); });
    CHECK(loss_of(it.victim).may_have_run == 1);
    broken(kind, [&] { it.pool.submit(square, 4); });
    CHECK(other.is_running());
    it.cells[3] = 1;
    CHECK(other.get_for(LIMIT) == 2 && it.cells[4] == 0);
    it.pool.shutdown(true, false);
}

void semantics_p10_each_task_of_a_broken_pool_has_an_error_of_its_own(std::uint32_t kind) {
    breaking_pool it(kind, 1);
    std::vector<taskring::future<number>> pending;
    for (number x = 0; x < 6; x += 2)
        pending.push_back(it.pool.submit(square, x));
    it.cells[1] = 1;
    std::vector<std::exception_ptr> errors;
    std::vector<const taskring::error *> objects;
    for (auto &one : pending) {
        errors.push_back(one.exception_for(LIMIT));
        broken(kind, [&] { std::rethrow_exception(errors.back()); });
        try {
            std::rethrow_exception(errors.back());
        } catch (const taskring::broken_executor &e) {
            objects.push_back(&e);
        }
    }
    CHECK(objects[0] != objects[1] && objects[0] != objects[2] && objects[1] != objects[2]);
    // What is taken from one, or goes with it, is there in the others still.
    const auto text = broken(kind, [&] { pending[0].get_for(0ms); });
    CHECK(!pending[0].valid() && pending[1].valid() && text == objects[1]->what());
    errors[0] = nullptr;
    pending.erase(pending.begin());
    for (auto &one : pending) {
        CHECK(broken(kind, [&] { one.result_for(0ms); }) == text);
        CHECK(broken(kind, [&] { one.get_for(0ms); }) == text);
    }
    CHECK(loss_of(it.victim).may_have_run == 1);
}

void semantics_p11_a_broken_pool_says_which_worker_died_and_of_what(std::uint32_t kind) {
    if (in_threads(kind)) {
        // A thread has no number of its own, and no signal ends it alone.
        breaking_pool it(kind, 1);
        auto pending = it.pool.submit(square, 4);
        it.cells[1] = 1;
        const auto text = broken(kind, [&] { pending.get_for(LIMIT); });
        CHECK(text.find("a worker of the pool ended abruptly while a task was running or pending") != std::string::npos);
        return;
    }
    busy_pool all(kind, 1, TASKRING_DEATH_BREAKS_POOL);
    std::uint32_t pid = 0;
    CHECK(taskring_worker_pid(all.pool.get(), all.running[0].ticket(), &pid) == TASKRING_OK);
    CHECK(kill(static_cast<pid_t>(pid), SIGKILL) == 0);
    const auto wanted = "taskring-worker_0 (process " + std::to_string(pid) + "): signal 9 killed it";
    for (auto &one : all.pending)
        CHECK(broken(kind, [&] { one.get_for(LIMIT); }).find(wanted) != std::string::npos);
    CHECK(broken(kind, [&] { all.pool.submit(square, 4); }).find(wanted) != std::string::npos);
    CHECK(loss_of(all.running[0]).pid == pid);
}

void semantics_p7_what_a_lost_task_throws_says_what_became_of_it(std::uint32_t kind) {
    breaking_pool it(kind, 1);
    auto pending = it.pool.submit(square, 4), cancelled = it.pool.submit(square, 4);
    CHECK(cancelled.cancel());
    it.cells[1] = 1;
    const auto lost = thrown<taskring::worker_lost>([&] { it.victim.result_for(LIMIT); });
    CHECK(lost.find("worker taskring-worker_0 (process " + std::to_string(loss_of(it.victim).pid) + ") died") != std::string::npos);
    CHECK(in_threads(kind) || lost.find("signal 9") != std::string::npos);
    CHECK(thrown<taskring::cancelled_error>([&] { cancelled.get(); }) == "the task was cancelled");
    CHECK(broken(kind, [&] { pending.get_for(LIMIT); }).find("the pool is broken: ") == 0);
}

void semantics_p19_a_worker_that_dies_while_a_shutdown_waits_holds_it_up_no_longer(std::uint32_t kind) {
    // A thread that is gone is noticed sooner where nobody takes its place.
    const bool breaks = in_threads(kind);
    breaking_pool it(kind, 1, breaks ? TASKRING_DEATH_BREAKS_POOL : TASKRING_DEATH_FAILS_TASK);
    auto later = it.pool.submit(square, 4);
    std::atomic<bool> returned{false};
    std::thread ending([&] {
        it.pool.shutdown(true, false);
        CHECK(it.victim.done()); // It has waited for the verdict.
        returned = true;
    });
    until([&] { return submit_status(it.pool) == TASKRING_SHUT_DOWN; });
    CHECK(!returned);
    it.cells[1] = 1;
    ending.join();
    CHECK(loss_of(it.victim).may_have_run == 1);
    // A pool that closes runs what it took, unless it is broken.
    CHECK(later.try_get_for(0ms).status() == (breaks ? TASKRING_BROKEN : TASKRING_OK));
}

/// Counts in the first of its cells, notes its thread in the one of this attempt, and takes its worker with it in so many of them. The last argument is the
/// process of the pool's owner.
const taskring::task<std::uint32_t(std::string, number, std::uint32_t, pid_t)> dies{"dies"};

void semantics_b3_a_task_outlives_as_many_workers_as_the_pool_says_and_all_others_run_once(std::uint32_t kind) {
    const board cells;
    auto chosen = busy_pool::chosen(kind, 2, TASKRING_DEATH_RETRIES);
    chosen.attempts_max = 3;
    chosen.kills_max = 9;
    taskring::pool pool(chosen);
    auto lives = pool.submit(dies, cells.name(), 0, 2u, getpid()), lost = pool.submit(dies, cells.name(), 8, 3u, getpid());
    std::vector<taskring::future<number>> others;
    for (number cell = 16; cell < board::cells; cell++)
        others.push_back(pool.submit(count_in, cells.name(), cell));
    CHECK(lives.get_for(LIMIT) == 2);
    const auto loss = loss_of(lost);
    CHECK(loss.may_have_run == 1 && loss.signal == (in_threads(kind) ? 0 : SIGKILL));
    for (const std::size_t first : {0, 8}) {
        const number threads[] = {cells[first + 1], cells[first + 2], cells[first + 3]};
        CHECK(cells[first] == 3 && threads[0] != 0 && threads[1] != 0 && threads[2] != 0);
        CHECK(threads[0] != threads[1] && threads[0] != threads[2] && threads[1] != threads[2]);
    }
    for (auto &one : others)
        CHECK(one.get_for(LIMIT) == 0);
    pool.shutdown(true, false);
    for (std::size_t cell = 16; cell < board::cells; cell++)
        CHECK(cells[cell] == 1);
}

void semantics_p24_a_pool_that_is_shut_down_and_broken_throws_that_it_is_broken(std::uint32_t kind) {
    breaking_pool it(kind, 1);
    it.pool.shutdown(false, false);
    thrown<taskring::shut_down_error>([&] { it.pool.submit(square, 4); });
    thrown<taskring::shut_down_error>([&] { it.pool.map(square, numbers{1, 2}); });
    it.cells[1] = 1;
    CHECK(loss_of(it.victim).may_have_run == 1);
    until([&] { return submit_status(it.pool) == TASKRING_BROKEN; });
    broken(kind, [&] { it.pool.submit(square, 4); });
    broken(kind, [&] { it.pool.map(square, numbers{1, 2}); });
}

std::size_t own_threads() {
    DIR *const all = opendir("/proc/self/task");
    CHECK(all != nullptr);
    std::size_t found = 0;
    while (const auto *entry = readdir(all))
        found += entry->d_name[0] != '.';
    closedir(all);
    return found;
}

void semantics_p29_the_end_of_a_pools_scope_lets_everything_end_and_leaves_no_worker(std::uint32_t kind) {
    const board cells;
    const auto before = own_threads();
    {
        auto pool = make_pool(kind, 2);
        for (int i = 0; i < 20; i++)
            pool.submit(count_in, cells.name(), 0);
    }
    CHECK(cells[0] == 20);
    until_childless();
    until([&] { return own_threads() == before; });
}

void ends_by(std::uint32_t kind, int signal) {
    busy_pool all(kind, 2);
    const auto end = [&] { signal == SIGTERM ? all.pool.terminate_workers() : all.pool.kill_workers(); };
    if (in_threads(kind)) {
        // Threads cannot be ended: that is said, and nothing has changed.
        CHECK(status_of(end) == TASKRING_UNSUPPORTED);
        all.let_go();
        for (auto &one : all.pending)
            one.get_for(LIMIT);
        CHECK(all.running[0].get_for(LIMIT) == 0 && all.pool.submit(square, 4).get() == 16);
        return;
    }
    end();
    all.check_ended(signal);
    thrown<taskring::shut_down_error>([&] { all.pool.submit(square, 4); });
    all.pool.shutdown(true, false);
    until_childless();
    end();
}

void semantics_p32_workers_are_ended_by_sigterm_with_what_they_run(std::uint32_t kind) { ends_by(kind, SIGTERM); }
void semantics_p32_workers_are_ended_by_sigkill_with_what_they_run(std::uint32_t kind) { ends_by(kind, SIGKILL); }

void semantics_p32_a_shutdown_within_a_time_that_does_not_do_cancels_and_kills(std::uint32_t kind) {
    busy_pool all(kind, 2);
    if (in_threads(kind)) {
        // It waits a while for threads, which cannot be killed.
        std::thread ending([&] {
            try {
                const auto found = all.pool.shutdown_within(1ms);
                CHECK(found.cancelled == 10 && found.killed == 0);
            } catch (const taskring::timeout_error &) {
                // So long that it has given up: on a machine that is busy enough.
            }
        });
        for (auto &one : all.pending)
            thrown<taskring::cancelled_error>([&] { one.get_for(LIMIT); });
        CHECK(all.running[0].is_running());
        all.let_go();
        ending.join();
        CHECK(all.running[0].get_for(0ms) == 0);
    } else {
        const auto found = all.pool.shutdown_within(1ms);
        CHECK(found.cancelled == 10 && found.killed == 2);
        all.check_ended(SIGKILL);
    }
    const auto again = all.pool.shutdown_within(LIMIT);
    CHECK(again.cancelled == 0 && again.killed == 0);
}

/// One line of the matrix: whether the call waits, and whether those that are pending run. Running tasks are never interrupted.
void shut_down(std::uint32_t kind, bool waits, bool cancels) {
    busy_pool all(kind, 1);
    std::atomic<bool> returned{false};
    std::thread ending([&] {
        all.pool.shutdown(waits, cancels);
        returned = true;
    });
    until([&] { return submit_status(all.pool) == TASKRING_SHUT_DOWN; });
    if (cancels)
        for (auto &one : all.pending)
            thrown<taskring::cancelled_error>([&] { one.get_for(LIMIT); });
    if (!waits)
        until([&] { return returned.load(); });
    CHECK(returned != waits && all.running[0].is_running());
    all.let_go();
    ending.join();
    if (!cancels)
        for (auto &one : all.pending)
            one.get_for(waits ? 0ms : LIMIT);
    CHECK(all.running[0].get_for(waits ? 0ms : LIMIT) == 0);
    CHECK(all.cells[busy_pool::ran] == (cancels ? 0 : 10));
}

void semantics_pm_a_shutdown_waits_and_cancels_nothing(std::uint32_t kind) { shut_down(kind, true, false); }
void semantics_pm_a_shutdown_waits_and_cancels(std::uint32_t kind) { shut_down(kind, true, true); }
void semantics_pm_a_shutdown_neither_waits_nor_cancels(std::uint32_t kind) { shut_down(kind, false, false); }
void semantics_pm_a_shutdown_cancels_and_does_not_wait(std::uint32_t kind) { shut_down(kind, false, true); }

const taskring::task<void(std::string, std::string, std::string)> copy{"copy"};

bool is_there(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

/// Copies a file once another one is there, not before.
void copy_after(std::string from, std::string to, std::string after) {
    until([&] { return is_there(after); });
    // Whole or not at all: whoever counts the copies may look while it is written.
    { std::ofstream(to + "~") << std::ifstream(from).rdbuf(); }
    CHECK(std::rename((to + "~").c_str(), to.c_str()) == 0);
}

/// In the environment of a program that a case has run, as the owner of a pool that ends: where its files are.
constexpr const char *FOLDER = "TASKRING_SEMANTICS_FOLDER";
/// And in which order its pool and the library's own hook are come to at the end: see `static_pool`.
constexpr const char *ORDER = "TASKRING_SEMANTICS_ORDER";

/// A folder with four files for such a program, which is the same one with the same case.
class owner {
public:
    owner(std::uint32_t kind, const char *name, const char *order = "") {
        CHECK(mkdtemp(folder_) != nullptr && setenv(FOLDER, folder_, 1) == 0 && setenv(ORDER, order, 1) == 0);
        for (int n = 0; n < 4; n++)
            std::ofstream(file("from", n)) << "file " << n;
        const auto start = std::chrono::steady_clock::now();
        code_ = semantics_code(kind, name);
        took_ = std::chrono::steady_clock::now() - start;
    }
    ~owner() {
        for (int n = 0; n < 4; n++)
            for (const char *what : {"from", "to"})
                std::remove(file(what, n).c_str());
        std::remove(end().c_str());
        rmdir(folder_);
    }
    int code() const { return code_; }
    /// It did not wait for what waits for an end that is not said.
    bool ended_soon() const { return code_ == 0 && took_ < LIMIT / 2; }
    int copies() const {
        int found = 0;
        for (int n = 0; n < 4; n++) {
            std::ifstream copied(file("to", n));
            std::string line;
            found += std::getline(copied, line) && line == "file " + std::to_string(n);
        }
        return found;
    }
    std::string end() const { return std::string(folder_) + "/end"; }

private:
    std::string file(const char *what, int n) const { return std::string(folder_) + "/" + what + std::to_string(n); }

    char folder_[32] = "/tmp/taskring-owner-XXXXXX";
    int code_;
    std::chrono::steady_clock::duration took_{};
};

/// In that program: the tasks that copy, and what it does last. None has run before.
taskring::future<void> submit_copy(taskring::pool &pool, const std::string &folder, int n) {
    return pool.submit(copy, folder + "/from" + std::to_string(n), folder + "/to" + std::to_string(n), folder + "/end");
}
void submit_copies(taskring::pool &pool, const std::string &folder) {
    for (int n = 0; n < 4; n++)
        submit_copy(pool, folder, n);
}
void at_the_end(const std::string &folder) {
    for (int n = 0; n < 4; n++)
        CHECK(!is_there(folder + "/to" + std::to_string(n)));
    std::ofstream(folder + "/end").close();
}

/// What is static is destroyed by the end of the process, which has waited then.
std::optional<taskring::pool> kept;

constexpr const char *orders[] = {"the hook first", "the destructor first"};

/// The first pool of a process, made in one of these orders: what was there before the hook is destroyed after it.
taskring::pool &static_pool(const taskring::config &chosen) {
    if (std::string(std::getenv(ORDER)) == orders[0])
        return kept.emplace(chosen);
    static taskring::pool local(chosen);
    return local;
}

void semantics_p27_files_are_copied_after_a_shutdown_that_does_not_wait_and_main(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        kept.emplace(make_config(kind, 2));
        submit_copies(*kept, folder);
        kept->shutdown(false, false);
        // The handle may go as well.
        kept.reset();
        return at_the_end(folder);
    }
    const owner ended(kind, __func__);
    // At this very moment, not a little later.
    CHECK(ended.copies() == 4 && ended.code() == 0);
}

void semantics_p28_the_end_of_main_waits_for_a_pool_that_nobody_has_shut_down(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        kept.emplace(make_config(kind, 2));
        submit_copies(*kept, folder);
        return at_the_end(folder);
    }
    const owner ended(kind, __func__);
    CHECK(ended.copies() == 4 && ended.code() == 0);
}

void semantics_t7_what_runs_ends_after_main_and_a_shutdown_that_cancels_the_rest(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        kept.emplace(make_config(kind, 1));
        auto running = submit_copy(*kept, folder, 0);
        until_running(running);
        submit_copies(*kept, folder);
        kept->shutdown(false, true);
        return at_the_end(folder);
    }
    const owner ended(kind, __func__);
    CHECK(ended.copies() == 1 && ended.code() == 0);
}

void semantics_b11_std_exit_waits_and_keeps_its_code(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        kept.emplace(make_config(kind, 2));
        submit_copies(*kept, folder);
        kept->shutdown(false, false);
        at_the_end(folder);
        std::exit(7);
    }
    const owner ended(kind, __func__);
    CHECK(ended.copies() == 4 && ended.code() == 7);
}

taskring::config bounded(std::uint32_t kind, std::uint32_t workers) {
    auto chosen = make_config(kind, workers);
    chosen.exit_wait_max_ns = 100000000;
    return chosen;
}

void semantics_b11_a_limit_bounds_the_wait_at_the_end(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER))
        // They wait for an end that is never said.
        return submit_copies(static_pool(bounded(kind, 2)), folder);
    for (const char *order : orders) {
        const owner ended(kind, __func__, order);
        CHECK(ended.copies() == 0 && ended.ended_soon());
    }
}

void semantics_b11_a_limit_bounds_the_wait_for_callbacks_at_the_end(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        static std::atomic<bool> called{false};
        auto task = submit_copy(static_pool(bounded(kind, 1)), folder, 0);
        // Before it can be over: who comes later is called in this thread.
        task.on_done([] {
            called = true;
            std::this_thread::sleep_for(2 * LIMIT);
        });
        std::ofstream(std::string(folder) + "/end").close();
        return until([] { return called.load(); });
    }
    for (const char *order : orders)
        CHECK(owner(kind, __func__, order).ended_soon());
}

void semantics_b11_a_pool_that_is_left_is_not_waited_for(std::uint32_t kind) {
    if (const char *folder = std::getenv(FOLDER)) {
        auto chosen = make_config(kind, 1);
        chosen.detach_on_exit = 1;
        auto &left = static_pool(chosen);
        auto running = submit_copy(left, folder, 0);
        until_running(running);
        return submit_copies(left, folder);
    }
    for (const char *order : orders) {
        const owner ended(kind, __func__, order);
        CHECK(ended.copies() == 0 && ended.ended_soon());
        std::ofstream(ended.end()).close();
        // A worker process ends what it runs.
        if (!in_threads(kind))
            until([&] { return ended.copies() == 1; });
    }
}

const semantics_case cases[] = {
    CASE(semantics_p7_what_a_lost_task_throws_says_what_became_of_it),
    CASE(semantics_p9_a_pool_that_breaks_with_a_worker_starts_nothing_and_lets_others_end),
    CASE(semantics_p10_each_task_of_a_broken_pool_has_an_error_of_its_own),
    CASE(semantics_p11_a_broken_pool_says_which_worker_died_and_of_what),
    CASE(semantics_b3_a_task_outlives_as_many_workers_as_the_pool_says_and_all_others_run_once),
    CASE(semantics_p19_a_worker_that_dies_while_a_shutdown_waits_holds_it_up_no_longer),
    CASE(semantics_p24_a_pool_that_is_shut_down_and_broken_throws_that_it_is_broken),
    CASE(semantics_p29_the_end_of_a_pools_scope_lets_everything_end_and_leaves_no_worker),
    CASE(semantics_p32_workers_are_ended_by_sigterm_with_what_they_run),
    CASE(semantics_p32_workers_are_ended_by_sigkill_with_what_they_run),
    CASE(semantics_p32_a_shutdown_within_a_time_that_does_not_do_cancels_and_kills),
    CASE(semantics_pm_a_shutdown_waits_and_cancels_nothing),
    CASE(semantics_pm_a_shutdown_waits_and_cancels),
    CASE(semantics_pm_a_shutdown_neither_waits_nor_cancels),
    CASE(semantics_pm_a_shutdown_cancels_and_does_not_wait),
    CASE(semantics_p27_files_are_copied_after_a_shutdown_that_does_not_wait_and_main),
    CASE(semantics_p28_the_end_of_main_waits_for_a_pool_that_nobody_has_shut_down),
    CASE(semantics_t7_what_runs_ends_after_main_and_a_shutdown_that_cancels_the_rest),
    CASE(semantics_b11_std_exit_waits_and_keeps_its_code),
    CASE(semantics_b11_a_limit_bounds_the_wait_at_the_end),
    CASE(semantics_b11_a_limit_bounds_the_wait_for_callbacks_at_the_end),
    CASE(semantics_b11_a_pool_that_is_left_is_not_waited_for),
};

} // namespace

int main(int argc, char **argv) {
    define_board_tasks();
    taskring::define(copy, copy_after);
    taskring::define(dies, [](std::string name, number first, std::uint32_t deaths, pid_t owner) {
        board::cell *cells = board::at(name) + first;
        cells[0]++;
        cells[1 + taskring::attempt()] = static_cast<number>(gettid());
        if (taskring::attempt() < deaths)
            end_worker(owner);
        return taskring::attempt();
    });
    return run_cases(argc, argv, cases);
}
