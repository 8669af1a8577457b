// format/archive/zip_writer.hpp: what stands around the data of a zip's stored records, planned before any data is there.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace heft::format {

/// A record to be: stored, not deflated.
struct PlannedRecord {
  std::string name;          ///< In UTF-8, at most 65535 bytes.
  std::uint64_t header = 0;  ///< Offset of its local header.
  std::uint64_t size = 0;    ///< Bytes of data.
};

/// Where a local header has the CRC-32 of its data, which is not known before the data is written.
inline constexpr std::uint64_t zip_crc_offset = 14;

/// A record's local header, its CRC-32 0, filled up by an extra field so that the data begins at a multiple of
/// `alignment`, a power of two of at most 32 KiB.
std::string zip_local_header(const PlannedRecord& record, std::uint64_t alignment);

/// What follows the data of all records, at offset `begin`: the central directory with the records' CRC-32, and the end
/// records. Zip64 where a number needs it.
std::string zip_directory(std::span<const PlannedRecord> records, std::span<const std::uint32_t> checksums,
                          std::uint64_t begin);

}  // namespace heft::format
