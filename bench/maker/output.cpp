#include "maker/output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <libdeflate.h>

#include "heft/element.hpp"

namespace bench {

namespace {

constexpr std::size_t chunk_bytes = std::size_t{8} << 20;

// splitmix64: computes any word of the sequence from its number.
std::uint64_t random_word(std::uint64_t seed, std::uint64_t number) noexcept {
  std::uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t seed_of(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// Clears the top exponent bit of every block's scales.
void make_finite(std::span<std::byte> blocks, const KindInfo& kind) noexcept {
  for (const std::uint32_t scale : kind.scales)
    for (std::size_t at = scale; at < blocks.size(); at += kind.bytes) blocks[at] &= std::byte{0xBF};
}

// Fills `out` with consecutive words of the random sequence, from number `first_word`, each masked by `mask`.
void fill_random(std::span<std::byte> out, std::uint64_t seed, std::uint64_t first_word, std::uint64_t mask) noexcept {
  const std::size_t words = out.size() / 8;
  for (std::size_t i = 0; i < words; ++i) {
    const std::uint64_t word = random_word(seed, first_word + i) & mask;
    std::memcpy(out.data() + i * 8, &word, 8);
  }
  const std::uint64_t last = random_word(seed, first_word + words) & mask;
  std::memcpy(out.data() + words * 8, &last, out.size() % 8);
}

// Fills `out` with numbers of mean 0 and standard deviation 0.02: each from the sum of the four quarters of a word.
template <class T>
void fill_normal(std::span<std::byte> out, std::uint64_t seed, std::uint64_t first) noexcept {
  constexpr float mean = 2 * 65535, deviation = 37837;  // of such a sum: 65536 / sqrt(12) * sqrt(4)
  for (std::size_t i = 0; i < out.size() / sizeof(T); ++i) {
    const std::uint64_t word = random_word(seed, first + i);
    const auto sum = static_cast<float>((word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48));
    const T value((sum - mean) / deviation * 0.02F);
    std::memcpy(out.data() + i * sizeof(T), &value, sizeof value);
  }
}

}  // namespace

void fill_values(std::span<std::byte> out, std::uint64_t seed, std::uint64_t first_byte, const Tensor& tensor) {
  const KindInfo& kind = info(tensor.kind);
  if (tensor.values == Values::normal) {
    if (tensor.kind == Kind::f32) return fill_normal<float>(out, seed, first_byte / kind.bytes);
    if (tensor.kind == Kind::f16) return fill_normal<heft::f16>(out, seed, first_byte / kind.bytes);
    if (tensor.kind == Kind::bf16) return fill_normal<heft::bf16>(out, seed, first_byte / kind.bytes);
  }
  fill_random(out, seed, first_byte / 8, kind.finite_mask);
  make_finite(out, kind);
}

Output::Output(std::filesystem::path path, Progress& progress)
    : path_(std::move(path)), progress_(progress), buffer_(chunk_bytes) {
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) fail("cannot create");
}

Output::~Output() {
  if (file_ >= 0) ::close(file_);
  if (!whole_) ::unlink(path_.c_str());
}

void Output::fail(std::string_view what) const {
  throw std::runtime_error(fmt::format("{}: {}: {}", path_.string(), what, std::strerror(errno)));
}

void Output::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("cannot write");
    offset += static_cast<std::uint64_t>(wrote);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
}

void Output::append(std::span<const std::byte> bytes) {
  write_at(position_, bytes);
  position_ += bytes.size();
}

void Output::patch(std::uint64_t offset, std::span<const std::byte> bytes) { write_at(offset, bytes); }

std::uint32_t Output::append_payload(const Tensor& tensor) {
  const KindInfo& kind = info(tensor.kind);
  const std::uint64_t total = tensor.bytes(), seed = seed_of(tensor.name);
  const std::uint64_t step = chunk_bytes / (8 * kind.bytes) * (8 * kind.bytes);  // whole words and whole blocks
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < total;) {
    const std::span part = std::span(buffer_).first(std::min(step, total - done));
    fill_values(part, seed, done, tensor);
    crc = libdeflate_crc32(crc, part.data(), part.size());
    append(part);
    done += part.size();
    progress_.add(part.size());
  }
  return crc;
}

void Output::commit() {
  if (::ftruncate(file_, static_cast<off_t>(position_)) != 0) fail("cannot set the size");
  if (::fdatasync(file_) != 0) fail("cannot be made durable");
  // Drops the pages, because writing leaves smaller pieces of memory in the page cache than reading, which is measured.
  ::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);
  whole_ = true;
}

}  // namespace bench
