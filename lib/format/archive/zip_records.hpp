// format/archive/zip_records.hpp: constants of PKWARE's APPNOTE for reader and writer; zip_directory.hpp documents the
// layout.
#pragma once

#include <cstdint>

namespace heft::format::zip {

inline constexpr std::uint32_t local_signature = 0x04034b50;
inline constexpr std::uint32_t central_signature = 0x02014b50;
inline constexpr std::uint32_t end_signature = 0x06054b50;
inline constexpr std::uint32_t zip64_end_signature = 0x06064b50;
inline constexpr std::uint32_t zip64_locator_signature = 0x07064b50;

/// Bytes of the fixed parts of records.
inline constexpr std::uint64_t local_bytes = 30;
inline constexpr std::uint64_t central_bytes = 46;
inline constexpr std::uint64_t end_bytes = 22;
inline constexpr std::uint64_t locator_bytes = 20;
inline constexpr std::uint64_t zip64_end_bytes = 56;

inline constexpr std::uint16_t flag_encrypted = 1u << 0;
inline constexpr std::uint16_t flag_descriptor = 1u << 3;  ///< CRC-32 and sizes follow the data.
inline constexpr std::uint16_t flag_patched = 1u << 5;
inline constexpr std::uint16_t flag_strong_encryption = 1u << 6;
inline constexpr std::uint16_t flag_utf8 = 1u << 11;
inline constexpr std::uint16_t flag_masked = 1u << 13;

inline constexpr std::uint16_t zip64_extra = 0x0001;

/// A field of this value is replaced by one of the zip64 record or extra field.
inline constexpr std::uint16_t saturated16 = 0xFFFF;
inline constexpr std::uint32_t saturated32 = 0xFFFFFFFF;

}  // namespace heft::format::zip
