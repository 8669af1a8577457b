#include "core/metadata_budget.hpp"

#include <limits>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft::core {

std::uint64_t MetadataBudget::limit() const noexcept {
  if (limit_ != 0) return limit_;
  // Saturates: a limit that does not fit 64 bits is none.
  const std::uint64_t grown = checked_mul(read_bytes(), bytes_for_each_read).value_or(UINT64_MAX);
  return checked_add(base_bytes, grown).value_or(UINT64_MAX);
}

void MetadataBudget::take(std::uint64_t bytes) {
  std::uint64_t used = used_bytes();
  std::uint64_t wanted = 0;
  // Adds only if the sum is within the limit. Adding first and taking back on failure would let another thread, which
  // is within the limit, see the excess and fail. limit() is asked in each round, because other shards add to the bytes
  // read. Relaxed order is enough: the counters guard no other memory.
  do {
    wanted = checked_add(used, bytes).value_or(UINT64_MAX);
    if (const std::uint64_t most = limit(); wanted > most) [[unlikely]]
      throw Error(ErrorCode::limit_exceeded,
                  fmt::format("expected metadata that take at most {} bytes of memory (Limits::metadata_memory_bytes), "
                              "{} bytes of the file declare {} or more",
                              most, read_bytes(), wanted));
  } while (!used_.compare_exchange_weak(used, wanted, std::memory_order_relaxed));
  // compare_exchange_weak() loads the current peak when it fails; the loop ends when that is higher.
  std::uint64_t peak = peak_bytes();
  while (peak < wanted && !peak_.compare_exchange_weak(peak, wanted, std::memory_order_relaxed)) {
  }
}

}  // namespace heft::core
