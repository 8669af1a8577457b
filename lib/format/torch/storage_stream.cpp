#include "format/torch/storage_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/fail.hpp"
#include "format/name_table.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t window_bytes = 4096;

}  // namespace

std::int64_t SparseReader::number(std::uint64_t offset, std::string_view what) {
  core::require_inside(offset, sizeof(std::int64_t), end_, what);
  // Counts of small storages lie close together: a window has many. A large storage is stepped over without reading
  // it.
  if (offset < begin_ || !core::inside(offset - begin_, sizeof(std::int64_t), window_.size_bytes())) {
    begin_ = offset;
    window_ = input_.read(offset, std::min(window_bytes, end_ - offset));
  }
  return core::load_le<std::int64_t>(window_.data() + (offset - begin_));
}

std::uint64_t place_storage(SparseReader& reader, std::uint64_t offset, std::uint64_t end, const StorageUse& use,
                            TorchStorage& storage) {
  const std::int64_t count = reader.number(offset, "the count of a storage");
  // The pickle declares the same count in the storage's id. If they differ, every later offset would be wrong.
  if (count < 0 || static_cast<std::uint64_t>(count) != use.count)
    fail(ErrorCode::corrupt,
         fmt::format("storage '{}': expected {} elements, found {}", core::escaped(use.key), use.count, count), offset);
  storage.begin = offset + sizeof(std::int64_t);
  storage.size = storage_bytes(use, use.count);
  // Tested twice, so that the name for the message is made for an error only.
  if (!core::inside(storage.begin, storage.size, end))
    core::require_inside(storage.begin, storage.size, end, fmt::format("storage '{}'", core::escaped(use.key)));
  storage.placed = true;
  return storage.begin + storage.size;
}

std::uint64_t place_in_stream(const core::Input& input, std::uint64_t offset, std::uint64_t end, const Pickle& keys,
                              TorchObjects& objects) {
  if (keys.kind(keys.root) != PickleKind::list)
    fail(ErrorCode::corrupt, "expected the storages' keys as a list", keys.begin);
  NameTable by_key(objects.storages.size());  // keys are unique
  for (const TorchStorage& storage : objects.storages) by_key.add(storage.key);
  SparseReader reader(input, end);
  for (const std::uint32_t item : keys.children(keys.root)) {
    if (keys.kind(item) != PickleKind::text)
      fail(ErrorCode::corrupt, "expected the storages' keys as texts", keys.begin);
    const std::string_view key = keys.text(item);
    const std::optional<std::uint32_t> found = by_key.find(key);
    if (!found)
      fail(ErrorCode::corrupt, fmt::format("storage '{}' is not referenced by any tensor", core::escaped(key)), offset);
    TorchStorage& storage = objects.storages[*found];
    if (storage.placed)
      fail(ErrorCode::ambiguous, fmt::format("storage '{}' is listed twice", core::escaped(key)), offset);
    offset = place_storage(reader, offset, end, objects.uses[storage.use], storage);
  }
  return offset;
}

}  // namespace heft::format
