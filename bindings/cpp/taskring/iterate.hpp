// What gives one item after another, as a range that is gone through once.
#ifndef TASKRING_ITERATE_HPP
#define TASKRING_ITERATE_HPP

#include <cstddef>
#include <iterator>

namespace taskring {
namespace detail {

struct end_of_items {};

/// Goes through a `Source`: pull() gets the next item, over() tells that there was none, item() is it. What pull() throws comes out of begin and ++.
template <class Source> class item_iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = typename Source::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = value_type *;
    using reference = value_type &;

    explicit item_iterator(Source *source) noexcept : source_(source) {}
    reference operator*() const noexcept { return source_->item(); }
    pointer operator->() const noexcept { return &source_->item(); }
    item_iterator &operator++() {
        source_->pull();
        return *this;
    }
    void operator++(int) { source_->pull(); }
    friend bool operator==(const item_iterator &at, end_of_items) noexcept { return at.is_over(); }
    friend bool operator!=(const item_iterator &at, end_of_items) noexcept { return !at.is_over(); }

private:
    bool is_over() const noexcept { return source_->over(); }

    Source *source_;
};

} // namespace detail
} // namespace taskring

#endif
