// heft/index_iterator.hpp: the iterator of ranges that make their elements when they are accessed.
#pragma once

#include <cstddef>
#include <iterator>

namespace heft {

/// An input iterator over the elements (range.*get)(0), (range.*get)(1), ... which it returns by value: TensorRange,
/// Record and LoadPlan make their elements when they are accessed. Valid while its range lives and is not moved. A
/// value; the iterators of one range may be used by several threads, each iterator by one.
///
/// Example:
///   const heft::TensorRange tensors = checkpoint.tensors();
///   for (heft::TensorRange::iterator at = tensors.begin(); at != tensors.end(); ++at)
///     std::cout << (*at).name() << '\n';
template <class Range, class Value, Value (Range::*get)(std::size_t) const>
class IndexIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Value;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = Value;

  /// Belongs to no range: it can be assigned to and compared, not dereferenced.
  IndexIterator() noexcept = default;
  /// The element `position` of `range`; its size() for the end.
  IndexIterator(const Range& range, std::size_t position) noexcept : range_(&range), position_(position) {}

  /// Makes the element: throws what the range's function throws.
  Value operator*() const { return (range_->*get)(position_); }
  /// Moves to the next element. Requires that this is not the end.
  IndexIterator& operator++() noexcept {
    ++position_;
    return *this;
  }
  /// The same; returns an iterator to the element before.
  IndexIterator operator++(int) noexcept {
    IndexIterator old = *this;
    ++position_;
    return old;
  }
  /// Compares positions: requires iterators of one range.
  friend bool operator==(const IndexIterator& a, const IndexIterator& b) noexcept { return a.position_ == b.position_; }

 private:
  const Range* range_ = nullptr;
  std::size_t position_ = 0;
};

}  // namespace heft
