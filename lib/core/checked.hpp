// core/checked.hpp: checked arithmetic on numbers that come from a file. No other code does arithmetic on those.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/limit_name.hpp"

namespace heft::core {

/// Returns a + b, or nothing when the sum does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

/// Returns a * b, or nothing when the product does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The checks are inline, because each of 100,000 tensors needs several; the functions that throw are not.
[[noreturn]] void sum_overflows(std::uint64_t a, std::uint64_t b, std::string_view what);
[[noreturn]] void product_overflows(std::uint64_t a, std::uint64_t b, std::string_view what);
[[noreturn]] void over_limit(std::uint64_t value, std::uint64_t limit, std::string_view what, LimitName name,
                             std::optional<std::uint64_t> offset);
[[noreturn]] void over_format_bound(std::uint64_t value, std::uint64_t bound, std::string_view what,
                                    std::optional<std::uint64_t> offset);

/// Returns the sum or the product. Throws Error{corrupt} that names `what` when it does not fit 64 bits.
inline std::uint64_t add_or_throw(std::uint64_t a, std::uint64_t b, std::string_view what) {
  const auto sum = checked_add(a, b);
  if (!sum) [[unlikely]]
    sum_overflows(a, b, what);
  return *sum;
}
inline std::uint64_t mul_or_throw(std::uint64_t a, std::uint64_t b, std::string_view what) {
  const auto product = checked_mul(a, b);
  if (!product) [[unlikely]]
    product_overflows(a, b, what);
  return *product;
}

/// Returns true when [offset, offset + size) lies inside [0, bound). Does not wrap.
[[nodiscard]] constexpr bool inside(std::uint64_t offset, std::uint64_t size, std::uint64_t bound) noexcept {
  return offset <= bound && size <= bound - offset;
}

/// Throws Error{corrupt} unless [offset, offset + size) lies inside [0, bound): "expected N bytes of WHAT, M remain".
void require_inside(std::uint64_t offset, std::uint64_t size, std::uint64_t bound, std::string_view what);

/// Throws Error{limit_exceeded} when `value` is over `limit`: "WHAT: V is over Limits::NAME = L".
inline void require_limit(std::uint64_t value, std::uint64_t limit, std::string_view what, LimitName name,
                          std::optional<std::uint64_t> offset = {}) {
  if (value > limit) [[unlikely]]
    over_limit(value, limit, what, name, offset);
}

/// As require_limit(), for a bound that is not in Limits and that no caller can raise: "WHAT: V is over the B that heft
/// reads".
inline void require_format_bound(std::uint64_t value, std::uint64_t bound, std::string_view what,
                                 std::optional<std::uint64_t> offset = {}) {
  if (value > bound) [[unlikely]]
    over_format_bound(value, bound, what, offset);
}

/// Returns `value` rounded up to a multiple of `alignment`, a power of two. Throws Error{corrupt} when the result does
/// not fit 64 bits.
std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment);

}  // namespace heft::core
