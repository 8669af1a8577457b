// Commands that read a whole checkpoint and keep nothing of it, and the least that each of them costs.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <numeric>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "cli/commands.hpp"
#include "harness/descriptor.hpp"
#include "subjects/memory.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

// Stays in a processor's second-level cache.
constexpr std::uint64_t block_bytes = std::uint64_t{256} << 10;

std::uint64_t total_bytes(const std::vector<Extent>& files) {
  return std::accumulate(files.begin(), files.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Extent& file) { return sum + file.bytes; });
}

// Runs the command in this process, whose memory is measured.
Work command(std::vector<std::string> words, std::uint64_t bytes) {
  return [words = std::move(words), bytes]() -> Outcome {
    std::vector<const char*> arguments = {"heft"};
    for (const std::string& word : words) arguments.push_back(word.c_str());
    std::ostringstream out, err;
    heft::cli::Terminal terminal{.out = out, .err = err};
    const int status = heft::cli::run(static_cast<int>(arguments.size()), arguments.data(), terminal);
    if (status != heft::cli::ok)
      throw std::runtime_error(fmt::format("heft {}: status {}: {}", words.front(), status, err.str()));
    const std::string text = out.str();
    return {bytes, text.substr(0, text.find('\n'))};
  };
}

Work prepare_verify(const Job& job) { return command({"verify", job.path}, total_bytes(files_of(job.path))); }
Work prepare_hash(const Job& job) { return command({"hash", job.path}, total_bytes(files_of(job.path))); }
Work prepare_diff(const Job& job) { return command({"diff", job.path, job.path}, total_bytes(files_of(job.path))); }

std::span<const std::byte> read_block(const Descriptor& file, std::span<std::byte> block, std::uint64_t at,
                                      std::uint64_t end) {
  const ssize_t got =
      ::pread(file.number(), block.data(), std::min<std::uint64_t>(block.size(), end - at), static_cast<off_t>(at));
  if (got <= 0) throw std::runtime_error(fmt::format("pread: {}", got == 0 ? "end of file" : std::strerror(errno)));
  return block.first(static_cast<std::size_t>(got));
}

// Reads all bytes on as many threads, block by block, and looks at each; `times` times, as `diff` of two files does.
Work scan(const Job& job, unsigned times) {
  return [files = files_of(job.path), threads = job.threads, times]() -> Outcome {
    std::atomic<std::uint64_t> sum = 0;
    for (const Extent& extent : files) {
      const Descriptor file(extent.path);
      in_parallel(threads, extent.bytes, HugeMemory::page, [&](std::uint64_t begin, std::uint64_t end) {
        const HugeMemory memory(times * block_bytes);
        std::uint64_t mine = 0;
        for (std::uint64_t at = begin; at < end;) {
          std::uint64_t read = 0;
          for (unsigned i = 0; i < times; ++i) {
            const auto block = read_block(file, memory.span().subspan(i * block_bytes, block_bytes), at, end);
            const std::span words(reinterpret_cast<const std::uint64_t*>(block.data()), block.size() / 8);
            mine = std::accumulate(words.begin(), words.end(), mine);
            read = block.size();
          }
          at += read;
        }
        sum += mine;
      });
    }
    return {total_bytes(files), fmt::format("{} threads, sum {}", threads, sum.load())};
  };
}

Work prepare_scan(const Job& job) { return scan(job, 1); }
Work prepare_scan_twice(const Job& job) { return scan(job, 2); }

// SHA-256 of as many bytes as the checkpoint has, of one block of memory: no byte comes from a file.
Work prepare_sha256(const Job& job) {
  return [bytes = total_bytes(files_of(job.path)), threads = job.threads]() -> Outcome {
    in_parallel(threads, bytes, HugeMemory::page, [](std::uint64_t begin, std::uint64_t end) {
      const HugeMemory block(block_bytes);
      std::memset(block.data(), 1, block_bytes);
      EVP_MD_CTX* const context = EVP_MD_CTX_new();
      bool done = context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1;
      for (std::uint64_t at = begin; done && at < end; at += block_bytes)
        done = EVP_DigestUpdate(context, block.data(), std::min(block_bytes, end - at)) == 1;
      EVP_MD_CTX_free(context);
      if (!done) throw std::runtime_error("libcrypto could not compute SHA-256");
    });
    return {bytes, fmt::format("{} threads", threads)};
  };
}

constexpr std::array<Subject, 6> subjects = {{{"heft-verify", prepare_verify},
                                              {"heft-hash", prepare_hash},
                                              {"heft-diff", prepare_diff},
                                              {"scan", prepare_scan},
                                              {"scan-twice", prepare_scan_twice},
                                              {"sha256", prepare_sha256}}};

}  // namespace

std::span<const Subject> consume_subjects() noexcept { return subjects; }

}  // namespace bench
