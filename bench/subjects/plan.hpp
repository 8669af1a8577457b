// bench/subjects/plan.hpp: heft's plan for a job, and its size in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heft/checkpoint.hpp"
#include "heft/plan.hpp"
#include "subjects/subject.hpp"

namespace bench {

/// Returns the distance between the starts of a tensor of `bytes` bytes and the next one in the same buffer.
constexpr std::uint64_t room_for(std::uint64_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

/// Returns a plan of all tensors, or of the part of every matrix that one tensor parallel rank needs, converted and
/// transposed by the options of the job. For reused memory, tensors go into `buffer` at multiples of 64 bytes.
heft::LoadPlan plan_for(const heft::Checkpoint& checkpoint, const Job& job, std::span<std::byte> buffer);

/// The size of such a plan.
struct PlanSize {
  std::uint64_t bytes_needed = 0;   ///< Source bytes of the tensors.
  std::uint64_t bytes_written = 0;  ///< After conversion.
  bool converts = false;            ///< Some tensor's dtype changes.
  std::uint64_t room = 0;           ///< Bytes of a buffer for all of them.
  /// Bytes of the 4 KiB pages that contain the source bytes; for tensor parallel jobs only.
  std::uint64_t pages_needed = 0;
};

PlanSize size_of_plan(const heft::Checkpoint& checkpoint, const Job& job);

}  // namespace bench
