// heft/slice.hpp: a typed span of elements with its owner.
//
// A Slice is Bytes with a type: TensorView::as<T>() checks dtype, layout and alignment once, and the elements are then
// read without further checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "heft/bytes.hpp"
#include "heft/element.hpp"

namespace heft {

/// Contiguous, aligned, immutable elements of type T that hold their owner: made by `TensorView::as<T>()` and
/// `Tensor::slice<T>()`.
///
/// A value: a copy increments one reference count and copies no elements. Const members may be called from several
/// threads. Elements of a mapped file lie in the mapping; Bytes documents the effect of a truncation by another
/// process.
///
/// Example:
///   const heft::Slice<heft::bf16> weights = view.as<heft::bf16>();   // Error{type_mismatch} for another dtype
///   float sum = 0;
///   for (const heft::bf16 weight : weights) sum += static_cast<float>(weight);
template <Element T>
class Slice {
 public:
  using value_type = T;

  /// No elements, no owner.
  Slice() noexcept = default;
  /// Requires that `owner` keeps `elements` valid and unchanged while it lives, and that they lie on alignof(T).
  Slice(std::span<const T> elements, std::shared_ptr<const void> owner) noexcept
      : elements_(elements), owner_(std::move(owner)) {}

  /// Number of elements, not bytes.
  [[nodiscard]] std::size_t size() const noexcept { return elements_.size(); }
  /// True for a tensor with a dim of 0, and for a default Slice.
  [[nodiscard]] bool empty() const noexcept { return elements_.empty(); }
  /// The elements in row-major order of the tensor, aligned to alignof(T). Borrowed: valid while this Slice (or a copy
  /// of it) lives. This and the pointers below are deleted for a temporary; a loop over one is valid, because the loop
  /// keeps it alive.
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
  /// A copy of element `index`. Requires index < size(): unchecked, as std::span's. Valid on a temporary.
  [[nodiscard]] T operator[](std::size_t index) const noexcept { return elements_[index]; }

 private:
  std::span<const T> elements_;
  std::shared_ptr<const void> owner_;
};

}  // namespace heft
