// heft/slice.hpp: a typed span of elements with its owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "heft/bytes.hpp"
#include "heft/element.hpp"

namespace heft {

/// Contiguous, aligned, immutable elements of type T that hold their owner: `TensorView::as<T>()` makes them.
///
/// A value; copying costs one reference count, nothing is copied. Const members may be called from several threads.
/// The elements lie in a mapping when the view did: see Bytes for what truncation by another process means.
template <Element T>
class Slice {
 public:
  using value_type = T;

  /// No elements, no owner.
  Slice() noexcept = default;
  /// `owner` must keep `elements` valid and unchanged while it lives.
  Slice(std::span<const T> elements, std::shared_ptr<const void> owner) noexcept
      : elements_(elements), owner_(std::move(owner)) {}

  /// Number of elements, not bytes.
  [[nodiscard]] std::size_t count() const noexcept { return elements_.size(); }
  /// True for a tensor with a dim of 0, and for a default Slice.
  [[nodiscard]] bool empty() const noexcept { return elements_.empty(); }
  /// In row-major order of the tensor, aligned to alignof(T). Borrowed: valid while this Slice (or a copy of it) lives.
  [[nodiscard]] std::span<const T> span() const& noexcept { return elements_; }
  std::span<const T> span() const&& = delete;
  /// The first element, and past the last one; may be null when there are none. Borrowed as span().
  [[nodiscard]] const T* data() const& noexcept { return elements_.data(); }
  const T* data() const&& = delete;
  [[nodiscard]] const T* begin() const& noexcept { return elements_.data(); }
  const T* begin() const&& = delete;
  [[nodiscard]] const T* end() const& noexcept { return elements_.data() + elements_.size(); }
  const T* end() const&& = delete;
  /// The same memory as bytes, with its owner.
  [[nodiscard]] Bytes bytes() const noexcept { return {std::as_bytes(elements_), owner_}; }
  /// A copy of element `index` < count(); unchecked, as std::span's.
  [[nodiscard]] T operator[](std::size_t index) const noexcept { return elements_[index]; }

 private:
  std::span<const T> elements_;
  std::shared_ptr<const void> owner_;
};

}  // namespace heft
