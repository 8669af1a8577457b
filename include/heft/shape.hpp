// heft/shape.hpp: dims of a tensor, outermost first, and strides in elements.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "heft/export.hpp"

namespace heft {

/// A short list of 64-bit numbers, one for each dim: up to 6 inline, more on the heap. `rank` is the number of dims, never a process.
///
/// Numbers are signed because strides are too in the field's formats; in a Shape they are never negative.
/// A value: copies are deep. Making or copying one of a rank above 6 allocates, and throws std::bad_alloc when there is no memory; nothing here
/// throws otherwise. Const members may be called from several threads.
class HEFT_API Dims {
 public:
  /// The highest rank that needs no memory of its own.
  static constexpr std::size_t inline_rank = 6;

  /// Rank 0.
  Dims() noexcept = default;
  /// The numbers as given, outermost first.
  Dims(std::initializer_list<std::int64_t> dims) : Dims(std::span<const std::int64_t>(dims.begin(), dims.size())) {}
  /// The same, copied: `dims` may go.
  explicit Dims(std::span<const std::int64_t> dims);
  /// `rank` times the same number, as indices all 0.
  Dims(std::size_t rank, std::int64_t value);
  Dims(const Dims& other);
  /// Leaves `other` at rank 0.
  Dims(Dims&& other) noexcept;
  Dims& operator=(Dims other) noexcept;
  ~Dims() = default;

  /// Number of dims.
  [[nodiscard]] std::size_t rank() const noexcept { return rank_; }
  /// Number `dim` < rank(), counted from the outermost; unchecked, as std::span's. The reference is valid until the Dims is assigned to, moved
  /// from, or dies.
  [[nodiscard]] std::int64_t operator[](std::size_t dim) const noexcept { return data()[dim]; }
  [[nodiscard]] std::int64_t& operator[](std::size_t dim) noexcept { return data()[dim]; }
  /// In order, for loops and algorithms. Valid until the Dims is changed or dies.
  [[nodiscard]] const std::int64_t* begin() const noexcept { return data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept { return data() + rank_; }
  /// The numbers in one run. Borrowed: valid until the Dims is changed or dies.
  [[nodiscard]] std::span<const std::int64_t> span() const& noexcept { return {data(), rank_}; }
  std::span<const std::int64_t> span() const&& = delete;

  /// Same rank and same numbers.
  friend HEFT_API bool operator==(const Dims& a, const Dims& b) noexcept;

 private:
  [[nodiscard]] const std::int64_t* data() const noexcept { return heap_ ? heap_.get() : inline_.data(); }
  [[nodiscard]] std::int64_t* data() noexcept { return heap_ ? heap_.get() : inline_.data(); }

  std::uint32_t rank_ = 0;
  std::array<std::int64_t, inline_rank> inline_{};
  std::unique_ptr<std::int64_t[]> heap_;
};

/// Dims of a tensor, outermost first (C order), in elements. What holds a Shape has checked that no dim is negative, except where it says
/// otherwise; one that a program makes is checked where it is used.
class HEFT_API Shape : public Dims {
 public:
  using Dims::Dims;
  Shape() noexcept = default;

  /// Product of the dims; 1 for rank 0, 0 when a dim is 0. Throws Error{corrupt} when a dim is negative or when the product of the
  /// non-zero dims does not fit 63 bits.
  [[nodiscard]] std::uint64_t element_count() const;
};

/// Steps between neighbours along each dim, in elements: element (i, j, ...) lies i * strides[0] + j * strides[1] + ... elements after the
/// first. 0 is legal (a broadcast). NumPy counts them in bytes, PyTorch as here.
class HEFT_API Strides : public Dims {
 public:
  using Dims::Dims;
  Strides() noexcept = default;

  /// Strides of a packed row-major tensor of that shape (a zero dim counts as 1, as everywhere in the field). Throws as element_count().
  [[nodiscard]] static Strides contiguous(const Shape& shape);
};

/// "[4096, 11008]"; "[]" for rank 0.
HEFT_API std::string to_string(const Dims& dims);

}  // namespace heft
