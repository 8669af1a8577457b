// format/archive/zip_writer.hpp: headers and directory of a zip of stored records, made before the data is written.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace heft::format {

/// A stored record that will be written.
struct PlannedRecord {
  std::string name;          ///< In UTF-8, at most 65535 bytes.
  std::uint64_t header = 0;  ///< Offset of its local header.
  std::uint64_t size = 0;    ///< Bytes of data.
};

/// Offset in a local header of the CRC-32 of the data, which is known only after the data is written.
inline constexpr std::uint64_t zip_crc_offset = 14;

/// Returns a record's local header with a CRC-32 of 0, padded by an extra field so that the data starts at a multiple
/// of `alignment`. Requires a power of two of at most 32 KiB.
std::string zip_local_header(const PlannedRecord& record, std::uint64_t alignment);

/// Returns the bytes after the data of all records, at offset `begin`: the central directory with the records' CRC-32,
/// and the end records, in zip64 where a number needs it.
std::string zip_directory(std::span<const PlannedRecord> records, std::span<const std::uint32_t> checksums,
                          std::uint64_t begin);

}  // namespace heft::format
