// How values become bytes and back. Both sides of a pool must agree on it: the bytes have no types in them.
//
// A trivially copyable type is its bytes. std::string, std::vector and std::span are a length of eight bytes and what is in them; std::optional a byte
// that is 0 or 1 and the value; std::tuple and std::pair their parts in a row.
#ifndef TASKRING_CODEC_HPP
#define TASKRING_CODEC_HPP

#include "error.hpp"

#include <cstddef>
#include <cstring>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_span
#include <span>
#endif

namespace taskring {

/// Bytes that are being read.
class reader {
public:
    reader(const void *data, std::size_t len) : at_(static_cast<const char *>(data)), left_(len) {}
    /// The next `len` bytes.
    const char *take(std::size_t len) {
        if (len > left_)
            throw error(TASKRING_DECODE, "bytes are missing: the other side encodes another type");
        const char *at = at_;
        at_ += len;
        left_ -= len;
        return at;
    }
    std::size_t left() const noexcept { return left_; }

private:
    const char *at_;
    std::size_t left_;
};

/// How a type goes through the pool: specialise it for your own types.
template <class T, class = void> struct codec {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_reference_v<T>,
                  "specialise taskring::codec for this type: it is not trivially copyable (or is a pointer, which means nothing in another process)");
    /// Many of them are copied as one.
    static constexpr bool is_bytes = true;
    static void encode(const T &value, std::string &to) { to.append(reinterpret_cast<const char *>(&value), sizeof value); }
    static T decode(reader &from) {
        T value;
        std::memcpy(&value, from.take(sizeof value), sizeof value);
        return value;
    }
};

/// What a parameter is kept as while its function runs: itself, or what owns the bytes that it refers to.
template <class T> struct stored {
    using type = T;
};
template <> struct stored<std::string_view> {
    using type = std::string;
};
#ifdef __cpp_lib_span
template <class T> struct stored<std::span<const T>> {
    using type = std::vector<T>;
};
#endif
template <class T> using stored_t = typename stored<T>::type;

namespace detail {

/// The value that these bytes are, all of them: an error with TASKRING_DECODE when some are missing or left over.
template <class T> T decode_all(const void *data, std::size_t len) {
    reader from(data, len);
    const auto at_end = [&from] {
        if (from.left() != 0)
            throw error(TASKRING_DECODE, "bytes are left over: the other side encodes another type");
    };
    if constexpr (std::is_void_v<T>) {
        at_end();
    } else {
        T value = codec<T>::decode(from);
        at_end();
        return value;
    }
}

template <class...> inline constexpr bool never = false;

template <class T, class = void> inline constexpr bool is_bytes = false;
template <class T> inline constexpr bool is_bytes<T, std::void_t<decltype(codec<T>::is_bytes)>> = codec<T>::is_bytes;
/// A vector of bool has no bools in it.
template <class T> inline constexpr bool is_copied_as_one = is_bytes<T> && !std::is_same_v<T, bool>;

template <class Items> void encode_items(const Items &items, std::string &to) {
    using T = typename Items::value_type;
    codec<std::uint64_t>::encode(items.size(), to);
    if constexpr (is_copied_as_one<T>) {
        if (items.size() != 0)
            to.append(reinterpret_cast<const char *>(items.data()), items.size() * sizeof(T));
    } else {
        for (const T &item : items)
            codec<T>::encode(item, to);
    }
}

} // namespace detail

template <> struct codec<std::string_view> {
    static void encode(std::string_view value, std::string &to) {
        codec<std::uint64_t>::encode(value.size(), to);
        to.append(value);
    }
    template <class From> static std::string_view decode(From &) {
        static_assert(detail::never<From>, "a std::string_view has no bytes of its own: only a whole parameter can be one");
        return {};
    }
};

template <> struct codec<std::string> {
    static void encode(const std::string &value, std::string &to) { codec<std::string_view>::encode(value, to); }
    static std::string decode(reader &from) {
        const auto len = static_cast<std::size_t>(codec<std::uint64_t>::decode(from));
        return std::string(from.take(len), len);
    }
};

template <class T> struct codec<std::vector<T>> {
    static void encode(const std::vector<T> &value, std::string &to) { detail::encode_items(value, to); }
    static std::vector<T> decode(reader &from) {
        const auto len = static_cast<std::size_t>(codec<std::uint64_t>::decode(from));
        std::vector<T> value;
        if constexpr (detail::is_copied_as_one<T>) {
            if (len > from.left() / sizeof(T))
                throw error(TASKRING_DECODE, "bytes are missing: the other side encodes another type");
            value.resize(len);
            if (len != 0)
                std::memcpy(value.data(), from.take(len * sizeof(T)), len * sizeof(T));
        } else {
            for (std::size_t i = 0; i < len; i++)
                value.push_back(codec<T>::decode(from));
        }
        return value;
    }
};

#ifdef __cpp_lib_span
template <class T, std::size_t N> struct codec<std::span<T, N>> {
    static_assert(std::is_const_v<T> && N == std::dynamic_extent,
                  "a task takes a std::span<const T> of any length: what a worker writes into its copy does not come back");
    static void encode(std::span<T> value, std::string &to) { detail::encode_items(value, to); }
    template <class From> static std::span<T> decode(From &) {
        static_assert(detail::never<From>, "a std::span has no items of its own: only a whole parameter can be one");
        return {};
    }
};
#endif

template <class T> struct codec<std::optional<T>> {
    static void encode(const std::optional<T> &value, std::string &to) {
        codec<std::uint8_t>::encode(value.has_value(), to);
        if (value)
            codec<T>::encode(*value, to);
    }
    static std::optional<T> decode(reader &from) {
        if (codec<std::uint8_t>::decode(from) == 0)
            return std::nullopt;
        return codec<T>::decode(from);
    }
};

template <class... T> struct codec<std::tuple<T...>> {
    static void encode(const std::tuple<T...> &value, std::string &to) {
        std::apply([&to](const T &...item) { (codec<T>::encode(item, to), ...); }, value);
    }
    static std::tuple<T...> decode(reader &from) { return std::tuple<T...>{codec<T>::decode(from)...}; }
};

template <class A, class B> struct codec<std::pair<A, B>> {
    static void encode(const std::pair<A, B> &value, std::string &to) {
        codec<A>::encode(value.first, to);
        codec<B>::encode(value.second, to);
    }
    static std::pair<A, B> decode(reader &from) {
        A first = codec<A>::decode(from);
        return {std::move(first), codec<B>::decode(from)};
    }
};

} // namespace taskring

#endif
