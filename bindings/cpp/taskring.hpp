// taskring for C++17 and later: RAII over taskring.h, typed tasks, exceptions. No logic of its own.
//
// A task is a name with types; every program that runs it registers a function or a lambda without captures for it, before init. Arguments and
// results are encoded by codec<T>: trivially copyable types as their bytes; std::string, std::vector, std::optional, std::tuple and std::pair of
// such; specialise taskring::codec for your own. Both sides must agree on them. A parameter may be a std::string_view or (C++20) a std::span<const T>.
//
//     const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};
//
//     int main(int argc, char **argv) {
//         taskring::define(square, [](std::uint64_t x) { return x * x; });
//         taskring::init(argc, argv);
//         taskring::pool pool;
//         return pool.submit(square, 7).get() == 49 ? 0 : 1;
//     }
//
// Functions that fail throw taskring::error or a class derived from it; those that begin with try_ return an outcome instead, whose status() tells. Any
// thread may use a pool; a future belongs to one thread at a time. An exception in a task is caught in the worker and thrown again as
// taskring::task_error by get. A lambda with captures cannot be a task: a worker in another process would not have what it captured. A thread_pool,
// whose workers are threads of this process, takes any code.
//
//     all of the inputs                for (auto &y : pool.map(square, xs, taskring::map_options().unordered()))
//     some or all of the futures       auto [done, not_done] = taskring::wait(futures, 5s, taskring::when::first_completed)
//     what a running task sends        for (auto &text : future.events<std::string>()), and in the task taskring::send_event(text)
//     as they end                      for (auto &[i, future] : taskring::as_completed(futures))
//     options of one task              pool.submit(taskring::options().idempotent(), square, 7)
//     in a coroutine (C++20)           auto y = co_await pool.submit(square, 7)
//     any code, in threads             taskring::thread_pool threads; threads.submit([&] { return total; })
//     in threads that share nothing    taskring::interpreter_pool<counter> pool(counters, taskring::config(), 100); pool.submit(add, 7)
//     a result of the program's own    taskring::promise<int> promise; auto future = promise.get_future(); promise.set_result(7)
//     as multiprocessing.Pool does    taskring::multi_pool pool; auto squares = pool.map(square, xs)
//     the same, one by one             for (auto y : pool.imap(square, xs))
//     large arguments, uncopied        pool.submit(task, std::move(loan)), where auto loan = pool.loan(len)
//     large results, uncopied          future.view()
//     what workers are given first     taskring::pool pool(taskring::setup().initializer(open, path).share("table", bytes).apply())
#ifndef TASKRING_HPP
#define TASKRING_HPP

#include "taskring/await.hpp"
#include "taskring/completions.hpp"
#include "taskring/interpreter_pool.hpp"
#include "taskring/log.hpp"
#include "taskring/multi.hpp"
#include "taskring/pool.hpp"
#include "taskring/promise.hpp"
#include "taskring/setup.hpp"
#include "taskring/thread_pool.hpp"

#endif
