#include "support/zip_builder.hpp"

#include <algorithm>
#include <libdeflate.h>

#include <utility>

namespace heft::test {
namespace {

struct Written {
  std::uint64_t header = 0;
  std::uint64_t stored_size = 0;
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::uint32_t crc32 = 0;
};

std::string padding_field(std::uint64_t data_without_it, std::uint16_t alignment) {
  if (alignment <= 1) return {};
  const std::uint64_t padding = (alignment - (data_without_it + 4) % alignment) % alignment;
  return "FB" + little(padding, 2) + std::string(padding, 'Z');
}

Written write_local(std::string& out, const ZipRecord& record) {
  const std::string data = record.deflate ? deflated(record.content) : record.content;
  Written written{out.size(), data.size(), static_cast<std::uint16_t>(record.deflate ? 8 : 0), 0, 0};
  written.crc32 = record.crc32.value_or(zip_crc32(record.content));
  const bool descriptor = record.descriptor && !record.content.empty();
  written.flags = record.flags.value_or(static_cast<std::uint16_t>(0x0800 | (descriptor ? 0x0008 : 0)));
  const std::string name = record.local_name.value_or(record.name);
  const std::string extra = padding_field(out.size() + 30 + name.size(), record.alignment);
  out += "PK\x03\x04" + little(0, 2) + little(record.local_flags.value_or(written.flags), 2) +
         little(record.local_method.value_or(written.method), 2) + little(0, 4);
  out += little(descriptor ? 0 : written.crc32, 4) +
         little(record.local_size.value_or(descriptor ? 0 : data.size()), 4) +
         little(descriptor ? 0 : record.content.size(), 4);
  out += little(name.size(), 2) + little(extra.size(), 2) + name + extra + data;
  if (descriptor)
    out += "PK\x07\x08" + little(written.crc32, 4) + little(data.size(), 4) + little(record.content.size(), 4);
  return written;
}

std::string central(const ZipRecord& record, const Written& written) {
  const std::uint64_t size = record.size.value_or(written.stored_size);
  const std::uint64_t full_size = record.full_size.value_or(record.content.size());
  const std::uint64_t header = record.header.value_or(written.header);
  const std::string extra =
      record.zip64 ? little(1, 2) + little(24, 2) + little(full_size, 8) + little(size, 8) + little(header, 8) : "";
  const std::uint64_t saturated = 0xFFFFFFFF;
  return std::string("PK\x01\x02") + little(0, 4) + little(written.flags, 2) +
         little(record.central_method.value_or(written.method), 2) + little(0, 4) + little(written.crc32, 4) +
         little(record.zip64 ? saturated : size, 4) + little(record.zip64 ? saturated : full_size, 4) +
         little(record.name.size(), 2) + little(extra.size(), 2) + little(0, 2) + little(0, 2) + little(0, 2) +
         little(0, 4) + little(record.zip64 ? saturated : header, 4) + record.name + extra;
}

}  // namespace

std::string little(std::uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string deflated(std::string_view content) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  std::string out(libdeflate_deflate_compress_bound(compressor, content.size()), '\0');
  out.resize(libdeflate_deflate_compress(compressor, content.data(), content.size(), out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

std::uint32_t zip_crc32(std::string_view content) { return libdeflate_crc32(0, content.data(), content.size()); }

ZipBuilder& ZipBuilder::add(ZipRecord record) {
  records_.push_back(std::move(record));
  return *this;
}

std::string ZipBuilder::build() const {
  std::string out;
  std::string directory;
  for (const ZipRecord& record : records_) {
    const Written written = write_local(out, record);
    directory += central(record, written);
  }
  const std::uint64_t begin = out.size();
  out += directory + gap;
  if (zip64_end) {
    const std::uint64_t at = out.size();
    const std::uint64_t number = zip64_count.value_or(records_.size());
    out += "PK\x06\x06" + little(44, 8) + little(0, 4) + little(0, 8) + little(number, 8) + little(number, 8) +
           little(zip64_size.value_or(directory.size()), 8) + little(zip64_begin.value_or(begin), 8);
    out += "PK\x06\x07" + little(0, 4) + little(at, 8) + little(1, 4);
  }
  const std::uint64_t number =
      count.value_or(static_cast<std::uint16_t>(std::min<std::size_t>(records_.size(), 0xFFFF)));
  out += "PK\x05\x06" + little(disk, 2) + little(0, 2) + little(number, 2) + little(number, 2) +
         little(directory_size.value_or(static_cast<std::uint32_t>(directory.size())), 4) +
         little(directory_begin.value_or(static_cast<std::uint32_t>(begin)), 4) + little(comment.size(), 2) + comment;
  return out;
}

}  // namespace heft::test
