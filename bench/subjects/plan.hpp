// bench/subjects/plan.hpp: the heft plan that a job asks for, and how many bytes that is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heft/checkpoint.hpp"
#include "heft/plan.hpp"
#include "subjects/subject.hpp"

namespace bench {

/// Bytes between the begins of two tensors that lie in one buffer, of which the first has so many.
constexpr std::uint64_t room_for(std::uint64_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

/// All tensors, or the part of every matrix that one rank of tensor parallelism needs; converted and transposed as the
/// job says. Into `buffer` when it is not empty, one tensor after the other on multiples of 64 bytes.
heft::LoadPlan plan_for(const heft::Checkpoint& checkpoint, const Job& job, std::span<std::byte> buffer);

/// What such a plan comes to.
struct PlanSize {
  std::uint64_t bytes_needed = 0;   ///< Source bytes of the tensors wanted.
  std::uint64_t bytes_written = 0;  ///< As converted.
  bool converts = false;            ///< Some tensor's dtype changes.
  std::uint64_t room = 0;           ///< Bytes of a buffer for all of them.
  std::uint64_t pages_needed =
      0;  ///< Bytes of the 4 KiB pages that hold what is needed; for tensor parallel jobs only.
};

PlanSize size_of_plan(const heft::Checkpoint& checkpoint, const Job& job);

}  // namespace bench
