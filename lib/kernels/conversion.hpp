// kernels/conversion.hpp: conversion of packed elements to another dtype, to host byte order, and from PyTorch's lazy
// bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "heft/dtype.hpp"
#include "kernels/kernels.hpp"

namespace heft::kernels {

/// Converts elements of one dtype to another. The unit of conversion is an element, or a block of a block type.
///
/// A value; const members can be called from several threads.
class Conversion {
 public:
  /// Properties of the source that the conversion removes: swapped, conjugated and negated of format::TensorFlag.
  struct Traits {
    bool swapped = false;
    bool conjugated = false;
    bool negated = false;
  };

  /// Returns the conversion. Throws Error{unsupported} with the reason when heft does not convert `from` to `to`.
  static Conversion find(DType from, DType to, Traits traits);

  [[nodiscard]] DType from() const noexcept { return from_; }
  [[nodiscard]] DType to() const noexcept { return to_; }
  /// Returns the elements of a unit: 1, or those of a block.
  [[nodiscard]] std::uint32_t unit_elements() const noexcept { return unit_elements_; }
  /// Return the bytes of a unit before and after conversion.
  [[nodiscard]] std::uint32_t from_bytes() const noexcept { return from_bytes_; }
  [[nodiscard]] std::uint32_t to_bytes() const noexcept { return to_bytes_; }
  /// Returns true when bytes are only copied.
  [[nodiscard]] bool is_copy() const noexcept { return step_ == Step::copy && !touches_bits(); }

  /// Converts `count` packed units. The runs need no alignment and must not overlap.
  void run(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept;

  friend bool operator==(const Conversion&, const Conversion&) noexcept = default;

 private:
  // The kind of conversion between the dtypes. Byte order and signs are corrected before it.
  enum class Step : std::uint8_t { copy, real, integer, dequantize };

  [[nodiscard]] bool touches_bits() const noexcept { return traits_.swapped || traits_.conjugated || traits_.negated; }
  void run_tile(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept;
  void mend_bits(const std::byte* from, std::byte* to, std::size_t count) const noexcept;
  void convert(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept;
  void decode(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept;

  DType from_ = DType::unknown;
  DType to_ = DType::unknown;
  Step step_ = Step::copy;
  DType from_scalar_ = DType::unknown;  // the type of a complex type's parts; else the type itself
  DType to_scalar_ = DType::unknown;
  std::uint8_t scalars_ = 1;  // per element: 2 for complex
  Traits traits_ = {};
  std::uint32_t unit_elements_ = 1;
  std::uint32_t from_bytes_ = 1;
  std::uint32_t to_bytes_ = 1;

  friend bool operator==(const Traits&, const Traits&) noexcept;
};

inline bool operator==(const Conversion::Traits& a, const Conversion::Traits& b) noexcept {
  return a.swapped == b.swapped && a.conjugated == b.conjugated && a.negated == b.negated;
}

}  // namespace heft::kernels
