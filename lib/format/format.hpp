// format/format.hpp: what a format is: a name, a test of the first bytes, and a pure function from bytes to a Catalog.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// At most this much of a file is shown to matches().
inline constexpr std::size_t head_bytes = 4096;

/// What the caller of open() can ask of a format.
struct ReadOptions {
  Limits limits = {};
  std::string_view file_name = {};      ///< Base name of the file: GGUF splits compute their siblings' names from it. May be empty.
  std::string_view top_level_key = {};  ///< PyTorch: read the state dict under this key. Empty: the whole object.
  std::span<const DType> raw_items = {};  ///< NumPy: NumpyOptions::raw_items. Only npy and npz get any.
  bool strict_globals = false;     ///< PyTorch: an unknown global is Error{refused} instead of an opaque record.
  bool big_endian_default = false; ///< PyTorch zips without a `byteorder` record: take them as big-endian.
};

/// One row of the list in formats.inc. Errors that read() throws carry tensor and offset; the record room adds the path.
struct Format {
  std::string_view name;      ///< "safetensors"
  /// Usual endings of file names, a blank between two: ".mpk .mpk.gz". Without a dot in front: the whole name, "model.bin". They are used
  /// to find files in folders; what a file is, matches() decides.
  std::string_view suffixes;
  std::string_view reads;     ///< Versions and limits in a line, for `heft formats`. Empty: recognised only to be refused by name.
  std::string_view writes;    ///< The same for saving; empty: not written.
  /// Cheap and sure: looks at the first min(4096, size) bytes, never parses, never throws.
  bool (*matches)(std::span<const std::byte> head, std::uint64_t file_size) noexcept;
  /// Throws Error{corrupt, ambiguous, limit_exceeded, unsupported, refused}, or what the Input throws.
  Catalog (*read)(const core::Input& input, const ReadOptions& options);
  /// The same as matches() for what files of other formats may hold as well. Asked when no format's matches() is true; null: never true.
  bool (*resembles)(std::span<const std::byte> head, std::uint64_t file_size) noexcept = nullptr;
};

/// All formats, in the order in which they are tried: strong magics first, plausible lengths last.
std::span<const Format* const> formats() noexcept;

/// True when the file name has one of the format's endings, in capitals or not.
bool has_suffix(const Format& format, std::string_view file_name) noexcept;

/// The first format that matches, else the first that the file resembles, or null.
const Format* recognize(std::span<const std::byte> head, std::uint64_t file_size) noexcept;

}  // namespace heft::format
