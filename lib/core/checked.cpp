#include "core/checked.hpp"

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::core {

void sum_overflows(std::uint64_t a, std::uint64_t b, std::string_view what) {
  throw Error(ErrorCode::corrupt, fmt::format("{} does not fit 64 bits: {} + {}", what, a, b));
}

void product_overflows(std::uint64_t a, std::uint64_t b, std::string_view what) {
  throw Error(ErrorCode::corrupt, fmt::format("{} does not fit 64 bits: {} x {}", what, a, b));
}

void require_inside(std::uint64_t offset, std::uint64_t size, std::uint64_t bound, std::string_view what) {
  if (inside(offset, size, bound)) return;
  // Zero also for an offset past the bound, which would wrap.
  const std::uint64_t left = offset <= bound ? bound - offset : 0;
  throw Error(ErrorCode::corrupt,
              fmt::format("expected {} bytes of {}, {} remain: cut short by an incomplete download, or damaged", size,
                          what, left),
              {.offset = offset});
}

void over_limit(std::uint64_t value, std::uint64_t limit, std::string_view what, LimitName name,
                std::optional<std::uint64_t> offset) {
  throw Error(ErrorCode::limit_exceeded, fmt::format("{}: {} is over Limits::{} = {}", what, value, name.text(), limit),
              {.offset = offset});
}

void over_format_bound(std::uint64_t value, std::uint64_t bound, std::string_view what,
                       std::optional<std::uint64_t> offset) {
  throw Error(ErrorCode::limit_exceeded, fmt::format("{}: {} is over the {} that heft reads", what, value, bound),
              {.offset = offset});
}

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  // Adding alignment - 1 passes the next multiple; clearing the low bits of the sum goes back to it.
  return add_or_throw(value, alignment - 1, "an aligned offset") & ~(alignment - 1);
}

}  // namespace heft::core
