// Yardsticks of the device: reads of the same files with O_DIRECT into one large buffer, with a given number of
// requests of a given size in flight.
#include <array>
#include <atomic>
#include <memory>

#include <fmt/format.h>

#include "harness/descriptor.hpp"
#include "subjects/direct.hpp"
#include "subjects/memory.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

void read_block(const DirectRead& read, std::uint64_t offset) {
  const std::uint64_t wanted = std::min(read.block_bytes, read.size_bytes - offset);
  const ssize_t got = ::pread(read.file, read.to + offset, read.block_bytes, static_cast<off_t>(offset));
  if (got < static_cast<ssize_t>(wanted))
    throw std::runtime_error(fmt::format("direct pread of {} bytes at {}: {}", wanted, offset,
                                         got < 0 ? std::strerror(errno) : "short read"));
}

using Reader = void (*)(const DirectRead&);

Work prepare(const Job& job, Reader reader) {
  auto files = files_of(job.path);
  std::uint64_t room = 0, bytes = 0;
  for (const Extent& extent : files)
    room += (extent.bytes / job.block_bytes + 1) * job.block_bytes, bytes += extent.bytes;
  auto target = std::make_shared<HugeMemory>(destination(room, job.reused, job.threads));
  return [=]() -> Outcome {
    std::byte* to = target->data();
    for (const Extent& extent : files) {
      const Descriptor file(extent.path, O_DIRECT);
      reader({file.number(), extent.bytes, to, job.block_bytes, job.depth});
      to += (extent.bytes / job.block_bytes + 1) * job.block_bytes;
    }
    return {bytes, fmt::format("{} x {} KiB in flight", job.depth, job.block_bytes >> 10)};
  };
}

Work prepare_pread(const Job& job) { return prepare(job, direct_pread); }
Work prepare_uring(const Job& job) { return prepare(job, direct_uring); }

constexpr std::array<Subject, 2> subjects = {{{"direct-pread", prepare_pread}, {"direct-uring", prepare_uring}}};

}  // namespace

void direct_pread(const DirectRead& read) {
  std::atomic<std::uint64_t> next = 0;
  on_threads(read.depth, [&](unsigned) {
    for (std::uint64_t at; (at = next.fetch_add(read.block_bytes)) < read.size_bytes;) read_block(read, at);
  });
}

std::span<const Subject> direct_yardsticks() noexcept { return subjects; }

}  // namespace bench
