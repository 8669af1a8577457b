// materialize/memory/memory_left.hpp: staging that suits the memory that is left, and the refusal of what does not fit
// it.
#pragma once

#include <cstdint>

#include "heft/error.hpp"
#include "mmap/memory_available.hpp"

namespace heft::engine {

/// Loads that take less than this do not ask for the memory that is left, since the question takes longer than it is
/// worth.
inline constexpr std::uint64_t worth_asking = 32u << 20;

/// Returns `usual`, or an eighth of the memory that is left if that is less: in whole MiB, at least one.
[[nodiscard]] std::uint64_t modest_bytes(std::uint64_t usual, std::uint64_t left) noexcept;

/// Throws Error{out_of_memory} with both figures when `needed` bytes are more than are left. `place` names the purpose.
void require_memory(std::uint64_t needed, const mmap::MemoryAvailable& left, ErrorPlace place = {});

}  // namespace heft::engine
