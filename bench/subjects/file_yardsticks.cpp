// Yardsticks of files: the cost of mapping and touching, or of reading, whole files.
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <memory>
#include <numeric>

#include <fmt/format.h>
#include <libdeflate.h>

#include "harness/descriptor.hpp"
#include "subjects/memory.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

constexpr std::uint64_t read_block = std::uint64_t{16} << 20;

std::uint64_t total_bytes(const std::vector<Extent>& files) {
  std::uint64_t sum = 0;
  for (const Extent& file : files) sum += file.bytes;
  return sum;
}

void read_range(int file, std::byte* to, std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    const ssize_t got = ::pread(file, to, std::min(read_block, end - begin), static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::runtime_error(fmt::format("pread: {}", got == 0 ? "end of file" : std::strerror(errno)));
    begin += static_cast<std::uint64_t>(got);
    to += got;
  }
}

// Reads one byte per page and returns their sum, so that the compiler cannot remove the reads.
std::uint64_t touch(const Extent& extent, unsigned threads) {
  const Descriptor file(extent.path);
  void* mapped = ::mmap(nullptr, extent.bytes, PROT_READ, MAP_SHARED, file.number(), 0);
  if (mapped == MAP_FAILED)
    throw std::runtime_error(fmt::format("{}: mmap: {}", extent.path.string(), std::strerror(errno)));
  std::atomic<std::uint64_t> sum = 0;
  in_parallel(threads, extent.bytes, HugeMemory::page, [&](std::uint64_t begin, std::uint64_t end) {
    const auto* bytes = static_cast<const volatile unsigned char*>(mapped);
    std::uint64_t mine = 0;
    for (std::uint64_t at = begin; at < end; at += 4096) mine += bytes[at];
    sum += mine;
  });
  ::munmap(mapped, extent.bytes);
  return sum;
}

Work prepare_touch(const Job& job) {
  return [files = files_of(job.path), threads = job.threads]() -> Outcome {
    std::uint64_t sum = 0;
    for (const Extent& file : files) sum += touch(file, threads);
    return {total_bytes(files), fmt::format("{} threads, sum {}", threads, sum)};
  };
}

Work prepare_read(const Job& job, unsigned threads) {
  auto files = files_of(job.path);
  auto target = std::make_shared<HugeMemory>(destination(total_bytes(files), job.reused, job.threads));
  return [files, target, threads]() -> Outcome {
    std::byte* to = target->data();
    for (const Extent& extent : files) {
      const Descriptor file(extent.path);
      in_parallel(threads, extent.bytes, HugeMemory::page,
                  [&](std::uint64_t begin, std::uint64_t end) { read_range(file.number(), to + begin, begin, end); });
      to += extent.bytes;
    }
    return {target->size_bytes(), fmt::format("{} threads", threads)};
  };
}

Work prepare_read_one(const Job& job) { return prepare_read(job, 1); }
Work prepare_read_all(const Job& job) { return prepare_read(job, job.threads); }

// The minimum work of opening: fetch the header of every safetensors file, and every other small file, and scan each
// byte once.
std::uint64_t header_bytes(const Extent& extent, int file) {
  if (extent.path.extension() != ".safetensors") return extent.bytes;
  std::uint64_t length = 0;  // little-endian, as the hosts that run the bench
  if (::pread(file, &length, sizeof length, 0) != sizeof length)
    throw std::runtime_error(extent.path.string() + ": no header");
  return std::min(extent.bytes, length + sizeof length);
}

Work prepare_headers(const Job& job) {
  return [files = files_of(job.path)]() -> Outcome {
    std::vector<std::byte> buffer;
    std::uint64_t bytes = 0, quotes = 0;
    for (const Extent& extent : files) {
      const Descriptor file(extent.path);
      buffer.resize(header_bytes(extent, file.number()));
      read_range(file.number(), buffer.data(), 0, buffer.size());
      bytes += buffer.size();
      quotes += static_cast<std::uint64_t>(std::count(buffer.begin(), buffer.end(), std::byte{'"'}));
    }
    return {bytes, fmt::format("{} quotes in {} files", quotes, files.size())};
  };
}

// Reads all bytes once and keeps none of them.
Work prepare_read_over(const Job& job) {
  return [files = files_of(job.path)]() -> Outcome {
    // On a page of its own: into memory that begins 16 bytes after one, the kernel copies at a quarter of the rate.
    const HugeMemory block(std::uint64_t{256} << 10);
    const std::span<std::byte> room = block.span();
    const std::span words(reinterpret_cast<const std::uint64_t*>(room.data()), room.size() / sizeof(std::uint64_t));
    std::uint64_t sum = 0;
    for (const Extent& extent : files) {
      const Descriptor file(extent.path);
      for (std::uint64_t at = 0; at < extent.bytes; at += room.size()) {
        read_range(file.number(), room.data(), at, std::min<std::uint64_t>(extent.bytes, at + room.size()));
        sum = std::accumulate(words.begin(), words.end(), sum);
      }
    }
    return {total_bytes(files), fmt::format("sum {}", sum)};
  };
}

// Reads a whole gzip file into memory and inflates it into other memory.
Work prepare_inflate(const Job& job) {
  return [file = files_of(job.path).front()]() -> Outcome {
    std::vector<std::byte> packed(file.bytes);
    read_range(Descriptor(file.path).number(), packed.data(), 0, packed.size());
    std::uint32_t size = 0;  // little-endian, as all hosts that heft runs on
    if (packed.size() < 18) throw std::runtime_error(file.path.string() + ": no gzip");
    std::memcpy(&size, packed.data() + packed.size() - sizeof size, sizeof size);
    const HugeMemory into(size);
    const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
        libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    std::size_t written = 0;
    if (libdeflate_gzip_decompress(inflater.get(), packed.data(), packed.size(), into.data(), size, &written) !=
        LIBDEFLATE_SUCCESS)
      throw std::runtime_error(file.path.string() + ": cannot be inflated");
    return {written, "one thread"};
  };
}

constexpr std::array<Subject, 6> subjects = {{{"mmap-touch", prepare_touch},
                                              {"read", prepare_read_one},
                                              {"read-threads", prepare_read_all},
                                              {"read-over", prepare_read_over},
                                              {"inflate", prepare_inflate},
                                              {"headers", prepare_headers}}};

}  // namespace

std::span<const Subject> file_yardsticks() noexcept { return subjects; }

}  // namespace bench
