// What the library has to say.
#ifndef TASKRING_LOG_HPP
#define TASKRING_LOG_HPP

#include "error.hpp"

#include <cstddef>
#include <memory>
#include <string_view>
#include <type_traits>

namespace taskring {

/// Has logger(std::uint32_t level, std::string_view message) called with messages up to `level_max` (TASKRING_LOG_ERROR to TASKRING_LOG_DEBUG), in
/// place of any before: from threads of the library, several at once. It must not end or free a pool, and what it throws ends the program.
template <class F> void set_log(std::uint32_t level_max, F &&logger) {
    using code = std::decay_t<F>;
    static_assert(std::is_invocable_v<const code &, std::uint32_t, std::string_view>,
                  "a logger takes a level and a message, and several threads may call it at once");
    auto kept = std::make_unique<code>(std::forward<F>(logger));
    const auto call_it = [](std::uint32_t level, const char *message, void *data) noexcept {
        (*static_cast<const code *>(data))(level, std::string_view(message));
    };
    const auto end_it = [](void *data) noexcept { delete static_cast<code *>(data); };
    // The library calls `end_it` also when it refuses.
    detail::check(taskring_set_log(level_max, call_it, kept.release(), end_it));
}

/// Silence, which is the beginning.
inline void set_log(std::nullptr_t) { detail::check(taskring_set_log(TASKRING_LOG_ERROR, nullptr, nullptr, nullptr)); }

} // namespace taskring

#endif
