#include "materialize/chunk_errors.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace heft::engine {
namespace {

Error with_offset(const Error& error, std::uint64_t offset) {
  if (error.offset()) return error;
  ErrorPlace place = error.place();
  place.offset = offset;
  return Error(error.code(), error.message(), std::move(place));
}

}  // namespace

Error ChunkErrors::about(const Error& error, const Chunk& chunk, std::uint64_t at) const {
  const std::span<const Part> parts = schedule_.parts_of(chunk);
  const auto reaches = [&](const Part& part) { return at < part.from_end; };
  const auto found = std::find_if(parts.begin(), parts.end(), reaches);
  // An offset in a gap between parts belongs to no tensor: the next one is named, behind the last part the last one.
  const Part& part = found == parts.end() ? parts.back() : *found;
  return error.with_path(schedule_.source(chunk.source).path())
      .with_tensor(plan_[position(schedule_.transfer(part).entry)].name);
}

Error ChunkErrors::about_request(const Error& error, const Chunk& chunk, std::uint64_t at) const {
  return about(with_offset(error, at), chunk, at);
}

Error ChunkErrors::about_write(const Error& error, EntryIndex entry, std::uint64_t to) const {
  const Transfer* from = nullptr;
  // Pieces of a tensor that lie in several files begin at several places of it.
  for (const Transfer& transfer : schedule_.transfers->transfers)
    if (transfer.entry == entry && std::cmp_less_equal(transfer.to, to) && (!from || from->to <= transfer.to))
      from = &transfer;
  Error named = error.with_tensor(plan_[position(entry)].name);
  if (from == nullptr) return named;
  if (from->contiguous) named = with_offset(named, from->from + (to - static_cast<std::uint64_t>(from->to)));
  return named.with_path(schedule_.transfers->sources[position(from->source)]->path());
}

}  // namespace heft::engine
