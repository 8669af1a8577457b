#include "materialize/arena_layout.hpp"

#include <bit>
#include <optional>

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

// Direct reads put a page of the file into a page of memory.
constexpr std::uint64_t page = 4096;
// Tensors of this size are given up to a page, so that direct reads need no copy.
constexpr std::uint64_t worth_a_phase = 1u << 20;
// Sizes add up to what a machine cannot have before they add up to what 64 bits cannot hold.
constexpr std::uint64_t max_memory = std::uint64_t{1} << 62;

std::uint64_t aligned(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) / alignment * alignment;
}

// Where an entry begins best, modulo `page`, so that the device can write its bytes where they belong: where they begin
// in their file.
std::optional<std::uint64_t> wanted_phase(const Transfers& all, const Transfer& transfer, std::uint64_t alignment) {
  if (!transfer.contiguous || transfer.to != 0 || transfer.from % alignment != 0 ||
      all.sources[position(transfer.source)]->kind() != record::Source::Kind::file)
    return std::nullopt;
  return transfer.from % page;
}

}  // namespace

std::uint64_t place_after(std::uint64_t at, const PlanEntry& entry, std::span<const Transfer> transfers,
                          const Transfers& all, std::uint64_t alignment) {
  at = aligned(at, alignment);
  if (entry.size_bytes < worth_a_phase || transfers.empty()) return at;
  const auto phase = wanted_phase(all, transfers.front(), alignment);
  return phase ? at + (*phase + page - at % page) % page : at;
}

ArenaLayout ArenaLayout::of(const PlanEntries& entries, const Transfers& all, std::uint64_t alignment) {
  if (!std::has_single_bit(alignment))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected an alignment that is a power of two, found {}", alignment));
  ArenaLayout layout{.alignment = alignment, .offsets = {}};
  layout.offsets.reserve(entries.size());
  const std::span<const Transfer> transfers(all.transfers);
  std::size_t first = 0;  // they lie in the order of their entries
  for (std::uint32_t number = 0; number < entries.size(); ++number) {
    const PlanEntry& entry = entries[number];
    while (first < transfers.size() && position(transfers[first].entry) < number) ++first;
    if (!entry.has_buffer)
      layout.size_bytes = place_after(layout.size_bytes, entry, transfers.subspan(first), all, alignment);
    layout.offsets.push_back(layout.size_bytes);
    if (!entry.has_buffer) layout.size_bytes = aligned(layout.size_bytes + entry.size_bytes, alignment);
    if (entry.size_bytes > max_memory || layout.size_bytes > max_memory)
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("expected a plan that fits memory, it comes to more than {} bytes", max_memory),
                  {.path = {}, .tensor = entry.name});
  }
  return layout;
}

}  // namespace heft::engine
