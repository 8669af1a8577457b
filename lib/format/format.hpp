// format/format.hpp: the descriptor of a format: its name, a test of the first bytes, and a pure function from bytes to
// a Catalog.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/writer.hpp"
#include "heft/limits.hpp"
#include "heft/read_options.hpp"

namespace heft::format {

/// The number of bytes from the start of a file that matches() receives at most.
inline constexpr std::size_t head_bytes = 4096;

/// The options of open() that a format reads.
struct ReadOptions {
  Limits limits = {};
  /// Base name of the file: GGUF splits compute their siblings' names from it. May be empty.
  std::string_view file_name = {};
  TorchReadOptions torch = {};  ///< For formats of Family::torch.
  NumpyReadOptions numpy = {};  ///< For formats of Family::numpy.
};

/// The package whose files a format describes: formats of one package have its options, and its habits.
enum class Family : std::uint8_t { other, numpy, torch };

/// One row of the list in formats.inc. Errors that read() throws contain tensor and offset; the record room adds the
/// path.
struct Format {
  std::string_view name;  ///< "safetensors"
  /// Usual endings of file names, separated by blanks: ".mpk .mpk.gz". An entry without a leading dot is a whole name,
  /// "model.bin". Only the search for files in folders uses them; matches() decides the format of a file.
  std::string_view suffixes;
  Family family = Family::other;
  /// Files may leave their byte order open: TorchReadOptions::big_endian_default is for them.
  bool may_lack_byte_order = false;
  /// Versions and limits in one line, for `heft formats`. Empty: files are refused by name.
  std::string_view reads;
  /// Returns true if the first min(4096, size) bytes are those of this format. Compares bytes without parsing them.
  bool (*matches)(std::span<const std::byte> head, std::uint64_t file_size) noexcept;
  /// Returns the catalog of the file. Throws Error{corrupt, ambiguous, limit_exceeded, unsupported, refused}, and the
  /// errors of the Input.
  Catalog (*read)(const core::Input& input, const ReadOptions& options);
  /// The same as matches() for bytes that files of other formats can contain too. Called if no format's matches()
  /// returns true. Null: always false.
  bool (*resembles)(std::span<const std::byte> head, std::uint64_t file_size) noexcept = nullptr;
  /// Null: heft does not write the format.
  const Writer* writer = nullptr;
};

/// Returns all formats in the order in which they are tried: strong magics first, plausible lengths last.
std::span<const Format* const> formats() noexcept;

/// Returns the format of that name, which is Catalog::format; null if there is none.
const Format* find_format(std::string_view name) noexcept;

/// Returns true if the file name has one of the format's endings, in upper or lower case.
bool has_suffix(const Format& format, std::string_view file_name) noexcept;

/// Returns the first format whose matches() is true, else the first whose resembles() is true, else null.
const Format* recognize(std::span<const std::byte> head, std::uint64_t file_size) noexcept;

}  // namespace heft::format
