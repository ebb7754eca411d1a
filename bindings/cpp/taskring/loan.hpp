// Loans: blocks of shared memory that are filled in place and submitted without a copy, for large arguments.
#ifndef TASKRING_LOAN_HPP
#define TASKRING_LOAN_HPP

#include "codec.hpp"

namespace taskring {

class pool;

/// A block for a task's arguments, aligned to 16 bytes, with whatever it held before. It holds what codec would have written: pool::submit(task,
/// std::move(loan)) takes it as that. Destroyed unsubmitted, it is given back.
class loan {
public:
    loan(taskring_pool *pool, std::size_t len) : pool_(pool), len_(len) { detail::check(taskring_loan(pool, len, &number_, &data_)); }
    loan(loan &&other) noexcept { swap(other); }
    loan &operator=(loan &&other) noexcept {
        loan(std::move(other)).swap(*this);
        return *this;
    }
    ~loan() {
        if (number_ != 0)
            taskring_loan_return(pool_, number_);
    }
    void *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return len_; }
    std::uint64_t number() const noexcept { return number_; }
    /// Whether it is still there: false when it was submitted or moved.
    bool valid() const noexcept { return number_ != 0; }
    /// Of the loan only the first `len` bytes are submitted.
    void shorten(std::size_t len) noexcept { len_ = len < len_ ? len : len_; }

    /// How large a loan is for one std::vector<T> or std::span<const T> of so many items.
    template <class T> static constexpr std::size_t size_for(std::size_t items) noexcept { return sizeof(std::uint64_t) + items * sizeof(T); }
    /// Writes the length of such an array, which must fit, and gives the place of its items.
    template <class T> T *array(std::size_t items) {
        static_assert(detail::is_copied_as_one<T> && alignof(T) <= alignof(std::uint64_t), "these items do not lie in a row as they are");
        if (len_ < sizeof(std::uint64_t) || items > (len_ - sizeof(std::uint64_t)) / sizeof(T))
            throw error(TASKRING_INVALID_ARGUMENT, "the loan is too small for the array");
        const std::uint64_t count = items;
        std::memcpy(data_, &count, sizeof count);
        return reinterpret_cast<T *>(static_cast<char *>(data_) + sizeof count);
    }

private:
    friend class pool;
    void swap(loan &other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(len_, other.len_);
        std::swap(number_, other.number_);
        std::swap(data_, other.data_);
    }

    taskring_pool *pool_ = nullptr;
    std::size_t len_ = 0;
    std::uint64_t number_ = 0;
    void *data_ = nullptr;
};

} // namespace taskring

#endif
