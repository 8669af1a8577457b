// format/archive/zip_directory.hpp: the directory of a zip archive: which records there are and where their bytes lie.
//
//   local header | name | extra | data | [descriptor]      once a record
//   ...
//   central directory                                      46 bytes + name + extra + comment, once a record
//   [zip64 end record][zip64 locator] end record           22 bytes + comment, the last thing in the file
//
// Strict where readers are known to differ, for a file that two readers read in two ways is an attack: one end record,
// names unique (also when case is ignored, as miniz does), local headers that agree with the directory, no two records
// over the same bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/input.hpp"
#include "core/limit_name.hpp"
#include "core/table.hpp"
#include "core/text.hpp"
#include "format/name_table.hpp"
#include "heft/bytes.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// A record as the central directory declares it. Names point into ZipDirectory::kept.
struct ZipEntry {
  static constexpr std::uint16_t stored = 0;
  static constexpr std::uint16_t deflated = 8;
  static constexpr std::uint64_t not_located = ~std::uint64_t{0};

  std::string_view name;
  std::uint64_t header = 0;          ///< Offset of the local header.
  std::uint64_t bound = 0;           ///< Offset of what follows: the next local header, or the directory.
  std::uint64_t data = not_located;  ///< Offset of the first byte of data; set by locate().
  std::uint64_t size = 0;            ///< Bytes in the file.
  std::uint64_t full_size = 0;       ///< Bytes after inflating; equal to `size` when stored.
  std::uint32_t crc32 = 0;           ///< Of the inflated bytes; 0: not recorded.
  std::uint16_t method = 0;          ///< `stored`, `deflated`, or one that heft refuses to use.
  std::uint16_t flags = 0;
};

/// What is wrong with a record's name, and the code of the error that a reader gives.
struct ZipNameFault {
  ErrorCode code;
  std::string_view finding;
};

/// Nothing for a name that every reader reads alike and that stays in its folder.
std::optional<ZipNameFault> zip_name_fault(std::string_view name) noexcept;
/// The name as readers see it that ignore case, as miniz does: ASCII capitals become small.
std::string zip_folded(std::string_view name);

/// The directory, checked as a whole: counts, names, bounds and overlaps. Local headers are read for the entries that
/// are used, by locate().
struct ZipDirectory {
  /// What it holds is counted in `budget`, which may be null.
  explicit ZipDirectory(const std::shared_ptr<core::MetadataBudget>& budget = {}) : entries(budget), folded(budget) {}

  core::Table<ZipEntry> entries;  ///< In the directory's order.
  std::uint64_t begin = 0;        ///< Offset of the central directory, the end of all data.

  /// Index of the entry with exactly that name, or `none` of format/catalog.hpp. `guess` is looked at first: who asks for
  /// many names as a rule asks in the directory's order.
  [[nodiscard]] std::uint32_t find(std::string_view name, std::uint32_t guess = 0) const;

  NameTable names;     ///< Of the names in lower case, in the order of entries.
  core::Arena folded;  ///< Those that have capitals.
  std::vector<Bytes> kept;
};

/// Reads the end records and the central directory.
///
/// Throws Error{corrupt} for what is malformed or out of bounds, Error{ambiguous} for what readers would read in two
/// ways, Error{refused} for names that climb out of a folder, Error{limit_exceeded} and Error{unsupported} (several
/// disks).
ZipDirectory read_zip(const core::Input& input, const Limits& limits);

/// Reads the local headers of `used` (indices, any order), demands that they say what the directory says, and sets
/// ZipEntry::data. Headers that lie close together are read together. Throws Error{ambiguous}, Error{corrupt},
/// Error{unsupported} (encrypted, patched, a compression other than deflate).
void locate(const core::Input& input, ZipDirectory& directory, std::span<const std::uint32_t> used);

/// All bytes of a located entry, inflated when needed, its CRC-32 checked when one is recorded. Throws
/// Error{limit_exceeded} when they are more than `max_bytes`, which `limit` names, or over `max_ratio`;
/// Error{corrupt}.
Bytes read_entry(const core::Input& input, const ZipEntry& entry, std::uint64_t max_bytes, core::LimitName limit,
                 std::uint64_t max_ratio);

/// The folder that all names share: "archive" of "archive/data.pkl", as PyTorch demands it. Throws Error{corrupt} when
/// an entry has none, Error{ambiguous} when two differ.
std::string_view common_folder(const ZipDirectory& directory);

}  // namespace heft::format
