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

/// A short list of 64-bit numbers, one for each dim: the base of Shape and Strides, and the type of an index. Up to 6
/// numbers lie inline, more on the heap. `rank` is the number of dims, never a process.
///
/// Numbers are signed because strides are signed in NumPy and PyTorch; in a Shape they are never negative. A value:
/// copies are deep. To make or copy one of a rank above 6 allocates and can throw std::bad_alloc; no other member
/// throws. Const members may be called from several threads.
///
/// Example:
///   const heft::Dims index{3, 0, 128};
///   for (const std::int64_t number : index) std::cout << number << '\n';
///   std::cout << heft::to_string(index) << " has rank " << index.rank() << '\n';
class HEFT_API Dims {
 public:
  /// The highest rank that lies inline, without a heap block.
  static constexpr std::size_t inline_rank = 6;

  /// Rank 0.
  Dims() noexcept = default;
  /// The numbers as given, outermost first.
  Dims(std::initializer_list<std::int64_t> dims) : Dims(std::span<const std::int64_t>(dims.begin(), dims.size())) {}
  /// A copy of the numbers: `dims` need not outlive the call.
  explicit Dims(std::span<const std::int64_t> dims);
  /// `rank` times the same number: Dims(3, 0) is the index of the first element of a tensor of rank 3.
  Dims(std::size_t rank, std::int64_t value);
  Dims(const Dims& other);
  /// Leaves `other` at rank 0.
  Dims(Dims&& other) noexcept;
  Dims& operator=(const Dims& other);
  Dims& operator=(Dims&& other) noexcept;
  ~Dims() = default;

  /// Number of dims.
  [[nodiscard]] std::size_t rank() const noexcept { return rank_; }
  /// Number of dim `dim`, counted from the outermost. Requires dim < rank(): unchecked, as std::span's. The reference
  /// is valid until the Dims is assigned to, moved from or destroyed.
  [[nodiscard]] std::int64_t operator[](std::size_t dim) const& noexcept { return data()[dim]; }
  [[nodiscard]] std::int64_t& operator[](std::size_t dim) & noexcept { return data()[dim]; }
  /// The numbers in order, for loops and algorithms. Borrowed as span(); deleted for a temporary, which a loop keeps
  /// alive.
  [[nodiscard]] const std::int64_t* begin() const& noexcept { return data(); }
  [[nodiscard]] const std::int64_t* end() const& noexcept { return data() + rank_; }
  const std::int64_t* begin() const&& = delete;
  const std::int64_t* end() const&& = delete;
  /// The numbers in one run. Borrowed: valid until the Dims is changed or destroyed.
  [[nodiscard]] std::span<const std::int64_t> span() const& noexcept { return {data(), rank_}; }
  std::span<const std::int64_t> span() const&& = delete;

  /// True for the same rank and the same numbers.
  friend HEFT_API bool operator==(const Dims& a, const Dims& b) noexcept;

 private:
  [[nodiscard]] const std::int64_t* data() const noexcept { return heap_ ? heap_.get() : inline_.data(); }
  [[nodiscard]] std::int64_t* data() noexcept { return heap_ ? heap_.get() : inline_.data(); }

  std::uint32_t rank_ = 0;
  std::array<std::int64_t, inline_rank> inline_{};
  std::unique_ptr<std::int64_t[]> heap_;
};

/// Dims of a tensor, outermost first (C order), in elements. heft checks that no dim of a file is negative before it
/// makes a Shape; a Shape that a program makes is checked where it is used.
///
/// Example:
///   const heft::Shape shape{4096, 11008};
///   const std::uint64_t elements = shape.element_count();                              // 45,088,768
///   const std::uint64_t bytes = heft::bytes_for(heft::DType::q4_0, shape);             // 25,362,432: 18 bytes for 32
class HEFT_API Shape : public Dims {
 public:
  using Dims::Dims;
  Shape() noexcept = default;

  /// Returns the product of the dims: 1 for rank 0, 0 when a dim is 0. Throws Error{corrupt} when a dim is negative or
  /// when the product of the non-zero dims does not fit 63 bits.
  [[nodiscard]] std::uint64_t element_count() const;
};

/// Steps between neighbours along each dim, in elements: element (i, j, ...) lies i * strides[0] + j * strides[1] + ...
/// elements after the first. 0 is legal: all elements along that dim are one (a broadcast). NumPy counts strides in
/// bytes, PyTorch in elements as here.
///
/// Example:
///   const heft::Strides packed = heft::Strides::contiguous({2, 3, 4});   // [12, 4, 1]
///   const heft::Strides broadcast{0, 1};                                 // every row is the first
///   std::cout << heft::to_string(packed) << '\n';
class HEFT_API Strides : public Dims {
 public:
  using Dims::Dims;
  Strides() noexcept = default;

  /// Returns the strides of a packed row-major tensor of that shape. A dim of 0 counts as 1, as in PyTorch and NumPy.
  /// Throws as Shape::element_count().
  [[nodiscard]] static Strides contiguous(const Shape& shape);
};

/// Returns "[4096, 11008]"; "[]" for rank 0.
HEFT_API std::string to_string(const Dims& dims);

}  // namespace heft
