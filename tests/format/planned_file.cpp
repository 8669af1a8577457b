#include "format/planned_file.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "format/archive/inflate.hpp"
#include "heft/error.hpp"

namespace heft::test {
namespace {

constexpr std::uint64_t max_bytes_summed = 1u << 20;

std::uint32_t checksum_of(const format::Payload& payload, std::uint64_t file_size) {
  if (file_size > max_bytes_summed) return 0;
  const std::string bytes(payload.size, static_cast<char>(payload.tensor));
  return format::crc32(std::as_bytes(std::span(bytes)), payload.crc_seed);
}

// Copies of [begin, begin + size) what falls into the window `into`, which lies at `offset` of the file.
template <class Copy>
void overlay(std::string& into, std::uint64_t offset, std::uint64_t begin, std::uint64_t size, Copy copy) {
  const std::uint64_t from = std::max(offset, begin);
  const std::uint64_t to = std::min(offset + into.size(), begin + size);
  if (from < to) copy(into.data() + (from - offset), from - begin, to - from);
}

}  // namespace

PlannedFile::PlannedFile(const format::FilePlan& plan)
    : size_(plan.size_bytes), payloads_(plan.payloads), segments_(plan.segments) {
  if (!plan.finish) return;
  std::vector<std::uint32_t> checksums;
  for (const format::Payload& payload : payloads_) checksums.push_back(checksum_of(payload, size_));
  std::ranges::copy(plan.finish(checksums), std::back_inserter(segments_));
}

Bytes PlannedFile::read(std::uint64_t offset, std::uint64_t size) const {
  if (offset > size_ || size > size_ - offset) throw Error(ErrorCode::corrupt, "past the end of the planned file");
  std::string window(size, '\0');
  for (const format::Payload& payload : payloads_)
    overlay(window, offset, payload.offset, payload.size, [&](char* to, std::uint64_t, std::uint64_t count) {
      std::memset(to, static_cast<int>(payload.tensor), count);
    });
  for (const format::ByteSegment& segment : segments_)
    overlay(window, offset, segment.offset, segment.bytes.size(),
            [&](char* to, std::uint64_t from, std::uint64_t count) {
              std::memcpy(to, segment.bytes.data() + from, count);
            });
  return Bytes::copy_of(std::as_bytes(std::span(window)));
}

std::string PlannedFile::whole() const {
  const Bytes bytes = read(0, size_);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes()};
}

format::Catalog read(const format::Format& format, const format::FilePlan& plan) {
  return format.read(PlannedFile(plan), {});
}

}  // namespace heft::test
