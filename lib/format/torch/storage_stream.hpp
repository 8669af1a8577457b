// format/torch/storage_stream.hpp: reader of storages in a stream, as in PyTorch before 1.6: for each a count, then the
// elements.
#pragma once

#include <cstdint>

#include "core/input.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

/// Reads numbers at scattered places of a file; numbers that lie close together come with one read.
class SparseReader {
 public:
  SparseReader(const core::Input& input, std::uint64_t end) : input_(input), end_(end) {}

  /// Returns the little-endian i64 at `offset`. Throws Error{corrupt} if it does not end before `end`.
  std::int64_t number(std::uint64_t offset, std::string_view what);

 private:
  const core::Input& input_;
  std::uint64_t end_;
  std::uint64_t begin_ = 0;
  Bytes window_;
};

/// Places `storage` at `offset`, that of its count, and returns the offset after its elements. Throws Error{corrupt} if
/// the count differs from that of `use`, the storage's first mention, or if the elements do not end before `end`.
std::uint64_t place_storage(SparseReader& reader, std::uint64_t offset, std::uint64_t end, const StorageUse& use,
                            TorchStorage& storage);

/// Places the storages in the list `keys`, in its order, from `offset` on, and returns the offset after the last.
///
/// Throws Error{corrupt} if it is not a list, and for a key that no tensor mentions; Error{ambiguous} for a repeated
/// key.
std::uint64_t place_in_stream(const core::Input& input, std::uint64_t offset, std::uint64_t end, const Pickle& keys,
                              TorchObjects& objects);

}  // namespace heft::format
