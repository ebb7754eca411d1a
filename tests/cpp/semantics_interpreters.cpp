// Section I of the contract in C++: pools of interpreters, and the classes of broken pools.
#include "semantics_shared.hpp"

#include <atomic>

namespace {

std::atomic<int> made{0}, ended{0}, ended_elsewhere{0};

/// A context that cannot be copied or moved.
struct desk {
    explicit desk(std::string whose, number first) : owner(std::move(whose)), served(first) {
        if (owner.empty())
            throw std::runtime_error("no desk is left");
        made++;
    }
    desk(const desk &) = delete;
    desk &operator=(const desk &) = delete;
    ~desk() { (std::this_thread::get_id() == made_in ? ended : ended_elsewhere)++; }

    const std::string owner;
    number served;
    const std::thread::id made_in = std::this_thread::get_id();
};

const taskring::context<desk(std::string, number)> desks{"desks"};
const taskring::context<int()> numbers_only{"numbers only"};
const taskring::task<number(number)> serve{"serve"};
const taskring::task<std::string()> owner{"owner"};
const taskring::task<int(std::string)> ask_for{"ask_for"};
const taskring::task<void()> ask_in_vain{"ask_in_vain"};

const taskring::task<void(std::string)> lay{"lay"};

/// The wait for a task of the same pool is refused.
template <class F> void refused(F &&wait) {
    try {
        wait();
        CHECK(!"it throws");
    } catch (const taskring::error &e) {
        CHECK(e.status() == TASKRING_UNSUPPORTED);
    }
}

void define_contexts() {
    taskring::define(lay, [](std::string why) {
        try {
            throw std::runtime_error(why);
        } catch (...) {
            std::throw_with_nested(std::logic_error("no table"));
        }
    });
    taskring::define(desks, [](std::string whose, number first) { return desk(std::move(whose), first); });
    taskring::define(numbers_only, [] { return 7; });
    taskring::define(desks, serve, [](desk &own, number by) {
        if (by == 0)
            throw std::runtime_error("nothing to serve");
        return own.served += by;
    });
    taskring::define(desks, owner, [](desk &own) { return own.owner; });
    // The status of a wait for a task of the same pool.
    taskring::define(desks, ask_for, [](desk &, std::string name) -> int {
        auto pool = taskring::pool::current();
        const taskring::task<number(number)> which{name.c_str()};
        try {
            pool.submit(which, 3).get();
        } catch (const taskring::error &e) {
            return e.status();
        }
        return TASKRING_OK;
    });
    // In every way, and all that was waited for is there afterwards.
    taskring::define(desks, ask_in_vain, [](desk &) {
        auto pool = taskring::pool::current();
        auto future = pool.submit(serve, 3);
        for (int i = 0; i < 2; i++) {
            refused([&] { future.get(); });
            refused([&] { future.view(); });
            refused([&] { future.result(); });
            refused([&] { future.exception(); });
            CHECK(future.try_get().status() == TASKRING_UNSUPPORTED && future.valid());
            thrown<taskring::timeout_error>([&] { future.get_for(1ms); });
        }
        CHECK(future.cancel());
        thrown<taskring::cancelled_error>([&] { future.get(); });
        CHECK(!future.valid());
        for (const bool unordered : {false, true}) {
            auto results = pool.map(serve, numbers{3, 4}, taskring::map_options().unordered(unordered));
            refused([&] { results.next(); });
            refused([&] { results.begin(); });
            results.cancel();
            for (int i = 0; i < 2; i++)
                thrown<taskring::cancelled_error>([&] { results.next(); });
            CHECK(!results.next());
        }
    });
}

void semantics_i4_a_failing_initializer_breaks_a_pool_with_a_class_of_its_own(std::uint32_t kind) {
    taskring::setup given;
    taskring::pool pool(given.initializer(complain, "no interpreter").apply(make_config(kind, 2)));
    const auto ask = [&] { pool.submit(square, 3).get(); };
    CHECK(thrown<taskring::broken_executor>(ask).find("no interpreter") != std::string::npos);
    if (kind == TASKRING_INTERPRETER)
        thrown<taskring::broken_interpreter_pool>(ask);
    if (in_threads(kind))
        thrown<taskring::broken_thread_pool>(ask);
    else
        thrown<taskring::broken_process_pool>(ask);
}

void semantics_i4_a_context_that_cannot_be_made_breaks_the_pool(std::uint32_t) {
    taskring::interpreter_pool<desk> pool(desks, make_config(0, 2), "", 3);
    const auto said = thrown<taskring::broken_interpreter_pool>([&] { pool.submit(serve, 1).get(); });
    CHECK(said.find("no desk is left") != std::string::npos && made == 0);
    CHECK(!taskring::interpreter_pool<desk>::try_make(desks, make_config(0, 193), "x", 3));
}

void semantics_i4_each_interpreter_makes_a_context_and_destroys_it_in_its_thread(std::uint32_t) {
    {
        taskring::interpreter_pool<desk> pool(desks, make_config(0, 3), "nobody", 100);
        CHECK(pool.submit(owner).get() == "nobody");
        for (int i = 0; i < 20; i++)
            CHECK(pool.submit(serve, 1).get() <= 120);
        CHECK(thrown<taskring::task_error>([&] { pool.submit(serve, 0).get(); }) == "nothing to serve");
        CHECK(pool.submit(square, 4).get() == 16);
    }
    CHECK(made == 3 && ended == 3 && ended_elsewhere == 0);
    // A task that takes another context is told so.
    taskring::interpreter_pool<int> other(numbers_only, make_config(0, 1));
    CHECK(thrown<taskring::task_error>([&] { other.submit(serve, 1).get(); }).find("another type") != std::string::npos);
}

void semantics_b4_a_task_that_has_its_context_waits_for_none_that_takes_one(std::uint32_t) {
    auto pool = taskring::interpreter_pool<desk>::try_make(desks, make_config(0, 1), "nobody", 0).value();
    CHECK(pool.submit(ask_for, "serve").get() == TASKRING_UNSUPPORTED);
    CHECK(pool.submit(ask_for, "square").get() == TASKRING_OK);
    CHECK(pool.submit(serve, 2).get() >= 2);
}

void semantics_b4_a_wait_that_is_refused_changes_nothing(std::uint32_t) {
    taskring::interpreter_pool<desk> pool(desks, make_config(0, 1), "nobody", 100);
    pool.submit(ask_in_vain).get();
    CHECK(pool.submit(serve, 2).get() == 102);
}

void semantics_i3_an_error_comes_back_with_its_summary_and_what_was_nested(std::uint32_t kind) {
    auto pool = make_pool(kind, 1);
    try {
        pool.submit(lay, "no wood").get();
        CHECK(!"it throws");
    } catch (const taskring::task_error &e) {
        CHECK(e.what() == std::string("no table: no wood") && e.source() == "no wood");
    }
    try {
        pool.submit(complain, "alas").get();
        CHECK(!"it throws");
    } catch (const taskring::task_error &e) {
        CHECK(e.what() == std::string("alas") && e.source().empty());
    }
}

const semantics_case cases[] = {
    CASE(semantics_i3_an_error_comes_back_with_its_summary_and_what_was_nested),
    CASE(semantics_i4_a_failing_initializer_breaks_a_pool_with_a_class_of_its_own),
    CASE(semantics_i4_a_context_that_cannot_be_made_breaks_the_pool),
    CASE(semantics_i4_each_interpreter_makes_a_context_and_destroys_it_in_its_thread),
    CASE(semantics_b4_a_task_that_has_its_context_waits_for_none_that_takes_one),
    CASE(semantics_b4_a_wait_that_is_refused_changes_nothing),
};

} // namespace

int main(int argc, char **argv) {
    define_contexts();
    return run_cases(argc, argv, cases);
}
