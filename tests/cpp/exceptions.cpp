// Exceptions in tasks: the wrapper makes errors of them; what a plain C task lets out ends its worker, and nothing else.
#include "check.hpp"

#include <csignal>
#include <stdexcept>

namespace {

struct odd {};

const taskring::task<void(std::uint32_t)> throws{"throws"};
const taskring::task<std::uint64_t(std::uint64_t)> square{"square"};

extern "C" int32_t lets_out(taskring_call *, void *) {
    throw std::runtime_error("out of a plain task");
}

void define_all() {
    taskring::define(throws, [](std::uint32_t what) {
        if (what == 0)
            throw std::runtime_error("of the standard library");
        if (what == 1)
            throw odd{};
        throw 7;
    });
    taskring::define(square, [](std::uint64_t x) { return x * x; });
    CHECK(taskring_register("lets_out", lets_out, nullptr, nullptr) == TASKRING_OK);
}

} // namespace

int main(int argc, char **argv) {
    define_all();
    taskring::init(argc, argv);
    taskring::pool pool(make_config(TASKRING_SPAWN, 1));
    for (std::uint32_t what = 0; what < 3; what++) {
        const auto failed = pool.submit(throws, what).try_get_for(LIMIT);
        CHECK(!failed && failed.status() == TASKRING_TASK_FAILED && failed.loss().pid == 0);
        CHECK(what != 0 || failed.message() == "of the standard library");
    }
    taskring_pool *raw = pool.get();
    std::uint64_t ticket = 0;
    CHECK(taskring_submit_named(raw, "lets_out", nullptr, 0, nullptr, TASKRING_INFINITE, &ticket) == TASKRING_OK);
    CHECK(taskring_result(raw, ticket, TASKRING_INFINITE, nullptr, 0, nullptr) == TASKRING_WORKER_LOST);
    taskring_loss loss{};
    taskring_last_loss(&loss);
    CHECK(loss.signal == SIGABRT);
    CHECK(pool.submit(square, 9u).get_for(LIMIT) == 81);
    return 0;
}
