#include "materialize/tensor_specs.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/memory/arena.hpp"

namespace heft::engine {
namespace {

// Tensors of at least this size start where their page does in the file, so that direct reads need no copy.
constexpr std::uint64_t min_paged_bytes = 1u << 20;
// Sizes add up to more than a machine has before they add up to more than 64 bits hold.
constexpr std::uint64_t max_memory = std::uint64_t{1} << 62;

// Direct reads fill a page of memory from a page of the file: with the same offset in both, without a copy.
std::optional<std::uint32_t> offset_in_page(const Transfers& all, const Transfer& transfer, std::uint64_t alignment) {
  if (!transfer.contiguous || transfer.to != 0 || transfer.from % alignment != 0 ||
      all.sources[position(transfer.source)]->kind() != record::Source::Kind::file)
    return std::nullopt;
  return static_cast<std::uint32_t>(transfer.from % mmap::page_size());
}

}  // namespace

void require_alignment(std::uint64_t alignment) {
  if (!std::has_single_bit(alignment))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected an alignment that is a power of two, found {}", alignment));
}

TensorSpec tensor_spec(const PlanEntry& entry, std::span<const Transfer> transfers, const Transfers& all,
                       std::uint64_t alignment) {
  TensorSpec spec{.name = entry.name,
                  .shape = entry.shape.span(),
                  .dtype = entry.dtype,
                  .size_bytes = entry.size_bytes,
                  .alignment = alignment};
  if (entry.size_bytes >= min_paged_bytes && !transfers.empty())
    // Of a tensor in several transfers the first decides: the others lie elsewhere in the file anyway.
    spec.offset_in_page = offset_in_page(all, transfers.front(), alignment);
  return spec;
}

std::vector<TensorSpec> tensor_specs(const PlanEntries& entries, const Transfers& all, std::uint64_t alignment) {
  std::vector<TensorSpec> specs;
  reserve_huge(specs, entries.size());
  std::uint64_t sum = 0;
  const std::span<const Transfer> transfers(all.transfers);
  std::size_t first = 0;  // in the order of their entries
  for (std::uint32_t number = 0; number < entries.size(); ++number) {
    const PlanEntry& entry = entries[number];
    // The summand is clamped, so that the sum cannot wrap before the comparison that refuses it.
    if (!entry.has_buffer) sum = round_up(sum + std::min(entry.size_bytes, max_memory), alignment);
    if (entry.size_bytes > max_memory || sum > max_memory)
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("expected a plan that fits memory, it comes to more than {} bytes", max_memory),
                  {.path = {}, .tensor = entry.name});
    // Both lists are in the order of entries: one pass over both.
    while (first < transfers.size() && position(transfers[first].entry) < number) ++first;
    if (!entry.has_buffer) specs.push_back(tensor_spec(entry, transfers.subspan(first), all, alignment));
  }
  return specs;
}

}  // namespace heft::engine
