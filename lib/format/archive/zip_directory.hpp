// format/archive/zip_directory.hpp: the directory of a zip archive: its records and the places of their bytes.
//
//   local header | name | extra | data | [descriptor]      for each record
//   ...
//   central directory                                      46 bytes + name + extra + comment, for each record
//   [zip64 end record][zip64 locator] end record           22 bytes + comment, the last thing in the file
//
// The reader refuses files that readers are known to read differently, because such a file can hide an attack. It
// requires one end record, unique names (also when case is ignored, as miniz does), local headers that agree with the
// directory, and records that do not overlap.
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
  std::uint64_t bound = 0;           ///< Offset of the next local header, or of the directory.
  std::uint64_t data = not_located;  ///< Offset of the first byte of data; set by locate().
  std::uint64_t size = 0;            ///< Bytes in the file.
  std::uint64_t full_size = 0;       ///< Bytes after inflating; equal to `size` when stored.
  std::uint32_t crc32 = 0;           ///< Of the inflated bytes; 0: not recorded.
  std::uint16_t method = 0;          ///< `stored`, `deflated`, or an unsupported one.
  std::uint16_t flags = 0;
};

/// A fault of a record's name, and the code of the error for it.
struct ZipNameFault {
  ErrorCode code;
  std::string_view finding;
};

/// Returns the fault of a name that readers read differently or that leaves its folder, or nothing.
std::optional<ZipNameFault> zip_name_fault(std::string_view name) noexcept;
/// Returns the name with ASCII letters in lower case, for readers that ignore case, as miniz does.
std::string zip_folded(std::string_view name);

/// The directory, with counts, names, bounds and overlaps checked. locate() reads the local headers of used entries.
struct ZipDirectory {
  /// Charges its memory to `budget`, which can be null.
  explicit ZipDirectory(const std::shared_ptr<core::MetadataBudget>& budget = {}) : entries(budget), folded(budget) {}

  core::Table<ZipEntry> entries;  ///< In the directory's order.
  std::uint64_t begin = 0;        ///< Offset of the central directory, the end of all data.

  /// Returns the index of the entry with exactly that name, or `none` of format/catalog.hpp. Compares entry `guess`
  /// first: lookups of many names usually follow the directory's order.
  [[nodiscard]] std::uint32_t find(std::string_view name, std::uint32_t guess = 0) const;

  NameTable names;     ///< Names in lower case, in the order of entries.
  core::Arena folded;  ///< Memory of lower-case names that differ from the original.
  std::vector<Bytes> kept;
};

/// Reads the end records and the central directory.
///
/// Throws Error{corrupt} for malformed or out-of-bounds data, Error{ambiguous} for data that readers read differently,
/// Error{refused} for names that leave the folder, Error{limit_exceeded} and Error{unsupported} (several disks).
ZipDirectory read_zip(const core::Input& input, const Limits& limits);

/// Reads the local headers of `used` (indices in any order), requires that they agree with the directory, and sets
/// ZipEntry::data. Headers that lie close together are read together. Throws Error{ambiguous}, Error{corrupt},
/// Error{unsupported} (encrypted, patched, a compression other than deflate).
void locate(const core::Input& input, ZipDirectory& directory, std::span<const std::uint32_t> used);

/// Returns all bytes of a located entry, inflated if deflated, with the CRC-32 checked if one is recorded. Throws
/// Error{limit_exceeded} for more than `max_bytes`, whose limit is `limit`, or a ratio over `max_ratio`;
/// Error{corrupt}.
Bytes read_entry(const core::Input& input, const ZipEntry& entry, std::uint64_t max_bytes, core::LimitName limit,
                 std::uint64_t max_ratio);

/// Returns the folder that all names share: "archive" for "archive/data.pkl". PyTorch requires one. Throws
/// Error{corrupt} if an entry has none, Error{ambiguous} if two differ.
std::string_view common_folder(const ZipDirectory& directory);

}  // namespace heft::format
