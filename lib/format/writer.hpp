// format/writer.hpp: the writing half of a format: the dtypes and the metadata that its files hold, and the plan of a
// file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "format/catalog.hpp"
#include "format/file_plan.hpp"
#include "heft/dtype.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// A value of metadata to be written. Texts are borrowed from the source.
struct MetadataValue {
  /// A boolean, a number, a text, or a list of `count` items; null for all other kinds, which no format keeps.
  /// The dtype of a number is the one that its file declares.
  Node node = {};
  std::function<MetadataValue(std::size_t)> item = {};  ///< Item `i` of a list.
};

/// The metadata of a save.
struct MetadataToWrite {
  /// The pairs of the source. A format keeps what it can, and notes the rest.
  std::vector<std::pair<std::string, MetadataValue>> kept;
  /// Texts that the caller adds; they replace kept pairs of the same key, and the last of a key counts.
  std::span<const std::pair<std::string, std::string>> added = {};
  bool converted = false;  ///< Some tensors have other dtypes than in the source.
};

/// Plans a file of tensors. Throws Error{unsupported}, naming the tensor, for a dtype, a name or a shape that the
/// format cannot represent; Error{ambiguous} for two tensors of one name; Error{limit_exceeded} for a head that readers
/// would refuse.
using FileLayout = std::function<FilePlan(std::span<const TensorDeclaration>)>;

/// A part of a format's descriptor.
struct Writer {
  std::string_view name;    ///< For messages: "GGUF".
  std::string_view writes;  ///< What is written, in one line, for `heft formats`.
  /// Returns true if the format can store elements of that dtype.
  bool (*has)(DType dtype) noexcept;
  /// Returns the layout of the files of a save. Adds a note for kept metadata that the format cannot hold. Throws
  /// Error{unsupported} for added pairs that it cannot hold.
  FileLayout (*layout)(const MetadataToWrite& metadata, const Limits& limits, std::vector<std::string>& notes);
  /// Returns the index of a checkpoint in shards, a file beside them named "<name of a single file>.index.json", from
  /// the bytes of all tensors and the pairs {tensor, shard} in order. Null for formats of one file.
  std::string (*index)(std::uint64_t total_size,
                       std::span<const std::pair<std::string, std::string>> weight_map) = nullptr;
};

/// Returns the position of the last pair for each key.
std::unordered_map<std::string_view, std::size_t> last_of_each(
    std::span<const std::pair<std::string, std::string>> pairs);

}  // namespace heft::format
