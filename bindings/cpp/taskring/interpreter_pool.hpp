// Pools whose workers are threads of this process that share nothing: each has a context of its own.
#ifndef TASKRING_INTERPRETER_POOL_HPP
#define TASKRING_INTERPRETER_POOL_HPP

#include "pool.hpp"

namespace taskring {

/// How a worker makes its context: a name, the context's type, and what it is made from.
template <class> class context;
template <class C, class... A> class context<C(A...)> {
    static_assert(std::is_object_v<C> && !std::is_pointer_v<C>, "a context is a value: its worker owns it");

public:
    explicit constexpr context(const char *name) noexcept : name_(name) {}
    constexpr const char *name() const noexcept { return name_; }

private:
    const char *name_;
};

namespace detail {

/// What a context is known by: the address of its type's own.
template <class C> inline constexpr char tag_of = 0;

/// A context, in its worker. The tag comes first: a task looks at it before it knows the rest.
template <class C> struct held_context {
    const char *tag;
    C value;
};

/// What a registration keeps.
template <class P> struct registered_code {
    P code;
    static void end(void *data) noexcept { delete static_cast<registered_code *>(data); }
};

} // namespace detail

/// Registers how contexts are made: a function or a lambda without captures. Before init. It is called in the thread of each worker before its first task, and
/// what it returns is destroyed there when the worker leaves. An exception in it breaks the pool, with its text.
template <class C, class... A, class F> void define(context<C(A...)> which, F function) {
    using pointer = C (*)(A...);
    static_assert(std::is_convertible_v<F, pointer>, "what makes a context is a function or a lambda without captures, of the context's signature");
    using kept = detail::registered_code<pointer>;
    const auto init = [](taskring_call *call, void **made, void *data) noexcept -> std::int32_t {
        return detail::answer(call, [=] {
            std::size_t len = 0;
            const void *args = taskring_call_args(call, &len);
            auto values = detail::decode_all<std::tuple<stored_t<std::decay_t<A>>...>>(args, len);
            const pointer code = static_cast<kept *>(data)->code;
            const auto make = [&](auto &...one) -> C { return code(detail::as_parameter<std::decay_t<A>>(one)...); };
            *made = new detail::held_context<C>{&detail::tag_of<C>, std::apply(make, values)};
            return std::string();
        });
    };
    const auto exit = [](void *made, void *) noexcept { delete static_cast<detail::held_context<C> *>(made); };
    auto data = std::make_unique<kept>(kept{function});
    // The library calls `end` also when it refuses.
    detail::check(taskring_register_context(which.name(), init, exit, data.release(), kept::end));
}

/// Registers the code of a task that takes its worker's context, as a reference, before the task's parameters: a function or a lambda without captures.
/// Before init. It has the context for itself until it returns. An exception in it is its task's error, and the context stays.
template <class C, class... I, class R, class... A, class F> void define(context<C(I...)>, task<R(A...)> which, F function) {
    using pointer = R (*)(C &, A...);
    static_assert(std::is_convertible_v<F, pointer>,
                  "a task in a context is a function or a lambda without captures, of the task's signature with the context before it");
    using kept = detail::registered_code<pointer>;
    const auto call_it = [](taskring_call *call, void *made, void *data) noexcept -> std::int32_t {
        auto *own = static_cast<detail::held_context<C> *>(made);
        if (own->tag != &detail::tag_of<C>) {
            taskring_call_fail(call, "the worker's context is of another type");
            return 1;
        }
        const pointer code = static_cast<kept *>(data)->code;
        const auto in_context = [=](auto &&...one) -> R { return code(own->value, std::forward<decltype(one)>(one)...); };
        return detail::run(call, in_context, task<R(A...)>{""});
    };
    auto data = std::make_unique<kept>(kept{function});
    detail::check(taskring_register_in_context(which.name(), call_it, data.release(), kept::end));
}

/// A pool of interpreters: threads of this process, each with a context of type C that no other one reaches. Its tasks are those that were defined with such
/// a context, and all that need none; arguments and results cross as bytes. What a program keeps in variables of its own all of them share: that is not for
/// the compiler to see. See taskring_register_context for the life of a context.
template <class C> class interpreter_pool : public pool {
public:
    /// `args` are what each context is made from. The start method and the initializer are this pool's, whatever the config says.
    template <class... I, class... G>
    explicit interpreter_pool(context<C(I...)> which, const config &chosen, G &&...args)
        : pool(make(which, chosen, std::forward<G>(args)...).value()) {}
    template <class... I, class... G>
    static outcome<interpreter_pool> try_make(context<C(I...)> which, const config &chosen, G &&...args) {
        auto made = make(which, chosen, std::forward<G>(args)...);
        if (!made)
            return outcome<interpreter_pool>(detail::failure{made.status(), made.message(), {}});
        return interpreter_pool(*made);
    }

private:
    explicit interpreter_pool(taskring_pool *made) : pool(made) {}

    template <class... I, class... G> static outcome<taskring_pool *> make(context<C(I...)> which, config chosen, G &&...args) {
        std::string bytes;
        detail::encode_arguments(task<void(I...)>{which.name()}, bytes, std::forward<G>(args)...);
        const taskring_named_bytes initializer{which.name(), bytes.data(), bytes.size()};
        chosen.start_method = TASKRING_INTERPRETER;
        chosen.initializer = &initializer;
        taskring_pool *made = nullptr;
        const taskring_status status = taskring_create(&chosen, &made);
        if (status != TASKRING_OK)
            return outcome<taskring_pool *>(detail::last_failure(status));
        return made;
    }
};

} // namespace taskring

#endif
