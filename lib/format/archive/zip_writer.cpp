#include "format/archive/zip_writer.hpp"

#include <algorithm>
#include <string_view>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "format/archive/zip_records.hpp"

namespace heft::format {
namespace {

using namespace zip;
using core::append_le;

constexpr std::uint16_t version_plain = 20;  // 2.0
constexpr std::uint16_t version_zip64 = 45;  // 4.5
constexpr std::uint16_t made_on_unix = 3 << 8;
constexpr std::uint32_t unix_mode = 0100644u << 16;        // a regular file, for tools that unpack
constexpr std::uint32_t first_date = 1u << 21 | 1u << 16;  // 1980-01-01, 00:00, so that equal tensors make equal files
constexpr std::uint16_t padding_extra = 0x4246;            // "FB", as PyTorch's writer aligns its data
constexpr std::uint64_t extra_head_bytes = 4;

bool is_wide(std::uint64_t value) noexcept { return value >= saturated32; }
std::uint32_t narrow(std::uint64_t value) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, saturated32));
}
std::uint16_t narrow16(std::uint64_t value) noexcept {
  return static_cast<std::uint16_t>(std::min<std::uint64_t>(value, saturated16));
}

void append_extra_head(std::string& bytes, std::uint16_t id, std::uint64_t size) {
  append_le(bytes, id);
  append_le(bytes, static_cast<std::uint16_t>(size));
}

// Appends the fields that local header and directory entry share, from the version needed to the length of the name.
void append_common(std::string& bytes, const PlannedRecord& record, bool wide, std::uint32_t checksum) {
  append_le(bytes, wide ? version_zip64 : version_plain);
  append_le(bytes, flag_utf8);
  append_le(bytes, std::uint16_t{0});  // stored
  append_le(bytes, first_date);
  append_le(bytes, checksum);
  append_le(bytes, narrow(record.size));
  append_le(bytes, narrow(record.size));
  append_le(bytes, static_cast<std::uint16_t>(record.name.size()));
}

// Appends a record's row of the central directory.
void append_central(std::string& bytes, const PlannedRecord& record, std::uint32_t checksum) {
  std::string extra;  // saturated fields only, in this order
  if (is_wide(record.size)) append_le(extra, record.size), append_le(extra, record.size);
  if (is_wide(record.header)) append_le(extra, record.header);
  append_le(bytes, central_signature);
  append_le(bytes, static_cast<std::uint16_t>(made_on_unix | version_zip64));
  append_common(bytes, record, !extra.empty(), checksum);
  append_le(bytes, static_cast<std::uint16_t>(extra.empty() ? 0 : extra_head_bytes + extra.size()));
  append_le(bytes, std::uint16_t{0});  // comment
  append_le(bytes, std::uint16_t{0});  // disk
  append_le(bytes, std::uint16_t{0});  // internal attributes: not text
  append_le(bytes, unix_mode);
  append_le(bytes, narrow(record.header));
  bytes += record.name;
  if (!extra.empty()) append_extra_head(bytes, zip64_extra, extra.size());
  bytes += extra;
}

// Appends the zip64 end record and its locator, for a directory of `count` rows and `size` bytes at `begin`.
void append_zip64_end(std::string& bytes, std::uint64_t count, std::uint64_t size, std::uint64_t begin) {
  append_le(bytes, zip64_end_signature);
  append_le(bytes, zip64_end_bytes - 12);  // what follows this field
  append_le(bytes, static_cast<std::uint16_t>(made_on_unix | version_zip64));
  append_le(bytes, version_zip64);
  append_le(bytes, std::uint64_t{0});  // disks
  append_le(bytes, count);
  append_le(bytes, count);
  append_le(bytes, size);
  append_le(bytes, begin);
  append_le(bytes, zip64_locator_signature);
  append_le(bytes, std::uint32_t{0});
  append_le(bytes, begin + size);
  append_le(bytes, std::uint32_t{1});
}

// Appends the end record. Numbers that do not fit are saturated.
void append_end(std::string& bytes, std::uint64_t count, std::uint64_t size, std::uint64_t begin) {
  append_le(bytes, end_signature);
  append_le(bytes, std::uint32_t{0});  // disks
  append_le(bytes, narrow16(count));
  append_le(bytes, narrow16(count));
  append_le(bytes, narrow(size));
  append_le(bytes, narrow(begin));
  append_le(bytes, std::uint16_t{0});  // comment
}

}  // namespace

std::string zip_local_header(const PlannedRecord& record, std::uint64_t alignment) {
  const bool wide = is_wide(record.size);
  const std::uint64_t zip64_bytes = wide ? extra_head_bytes + 16 : 0;
  const std::uint64_t filled = record.header + local_bytes + record.name.size() + zip64_bytes;
  std::uint64_t padding = core::align_up(filled, alignment) - filled;
  // An extra field has a head of 4 bytes, so a shorter gap is filled up to the next multiple.
  if (padding != 0 && padding < extra_head_bytes) padding += alignment;

  std::string bytes;
  append_le(bytes, local_signature);
  // The CRC-32 is 0 here: it is known only after the data were written, and the directory has it.
  append_common(bytes, record, wide, 0);
  append_le(bytes, static_cast<std::uint16_t>(zip64_bytes + padding));
  bytes += record.name;
  if (wide) {
    append_extra_head(bytes, zip64_extra, 16);
    append_le(bytes, record.size);
    append_le(bytes, record.size);
  }
  if (padding == 0) return bytes;
  append_extra_head(bytes, padding_extra, padding - extra_head_bytes);
  return bytes.append(padding - extra_head_bytes, '\0');
}

std::string zip_directory(std::span<const PlannedRecord> records, std::span<const std::uint32_t> checksums,
                          std::uint64_t begin) {
  std::string bytes;
  for (std::size_t i = 0; i < records.size(); ++i) append_central(bytes, records[i], checksums[i]);
  const std::uint64_t size = bytes.size();
  if (records.size() >= saturated16 || is_wide(size) || is_wide(begin))
    append_zip64_end(bytes, records.size(), size, begin);
  append_end(bytes, records.size(), size, begin);
  return bytes;
}

}  // namespace heft::format
