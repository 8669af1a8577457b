// Makes zip archives in memory, as PyTorch does, or invalid ones.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::test {

/// One record. Members that are not set get correct values; members that are set are written unchecked.
struct ZipRecord {
  std::string name;
  std::string content;
  bool deflate = false;
  bool descriptor = true;       ///< Sizes and CRC after the data instead of in the local header, as PyTorch does.
  std::uint16_t alignment = 1;  ///< Data start at a multiple of this, by an 'FB' extra field.
  std::optional<std::string> local_name = {};
  std::optional<std::uint16_t> local_method = {}, central_method = {}, local_flags = {}, flags = {};
  std::optional<std::uint32_t> crc32 = {}, local_size = {};
  std::optional<std::uint64_t> size = {}, full_size = {}, header = {};  ///< Central directory only.
  bool zip64 = false;  ///< Sizes and offset of the directory's entry in a zip64 extra field.
};

/// Builds an archive from records; `end` members override values of the end records.
class ZipBuilder {
 public:
  ZipBuilder& add(ZipRecord record);
  ZipBuilder& add(std::string name, std::string content) {
    return add({.name = std::move(name), .content = std::move(content)});
  }

  bool zip64_end = true;  ///< A zip64 end record and its locator before the end record, as PyTorch always writes.
  std::optional<std::uint64_t> zip64_count, zip64_size, zip64_begin;
  std::optional<std::uint16_t> count;
  std::optional<std::uint32_t> directory_size, directory_begin;
  std::uint16_t disk = 0;
  std::string comment;
  std::string gap;  ///< Bytes between the directory and the end records.

  [[nodiscard]] std::string build() const;

 private:
  std::vector<ZipRecord> records_;
};

/// Returns `content` as a raw deflate stream.
[[nodiscard]] std::string deflated(std::string_view content);
/// Returns the CRC-32 of zip.
[[nodiscard]] std::uint32_t zip_crc32(std::string_view content);
/// Returns the low `width` bytes of `value`, little-endian.
[[nodiscard]] std::string little(std::uint64_t value, int width);

}  // namespace heft::test
