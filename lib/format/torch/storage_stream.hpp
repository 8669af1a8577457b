// format/torch/storage_stream.hpp: storages that follow each other in a stream, as PyTorch wrote them before 1.6: a count, then
// the elements.
#pragma once

#include <cstdint>

#include "core/input.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

/// Reads numbers here and there in a file; those that lie close together come with one read.
class SparseReader {
 public:
  SparseReader(const core::Input& input, std::uint64_t end) : input_(input), end_(end) {}

  /// The little-endian i64 at `offset`. Throws Error{corrupt} when it does not end before `end`.
  std::int64_t number(std::uint64_t offset, std::string_view what);

 private:
  const core::Input& input_;
  std::uint64_t end_;
  std::uint64_t begin_ = 0;
  Bytes window_;
};

/// Places `storage` at `offset`, where its count stands; returns the offset behind its elements. Throws Error{corrupt}
/// when the count is not what `use`, the storage's first mention, says, or when the elements do not end before `end`.
std::uint64_t place_storage(SparseReader& reader, std::uint64_t offset, std::uint64_t end, const StorageUse& use,
                            TorchStorage& storage);

/// Places the storages that the list `keys` names, in its order, from `offset` on; returns the offset behind the last.
///
/// Throws Error{corrupt} for a list that is none, and for a key that no tensor mentions, Error{ambiguous} for a key
/// that stands there twice.
std::uint64_t place_in_stream(const core::Input& input, std::uint64_t offset, std::uint64_t end, const Pickle& keys,
                              TorchObjects& objects);

}  // namespace heft::format
