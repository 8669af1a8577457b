// bench/maker/output.hpp: a file that a writer fills sequentially, with holes and later patches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "maker/model.hpp"
#include "progress.hpp"

namespace bench {

/// Fills `out` with consecutive values of `tensor`, from byte `first_byte` of its payload, that depend on `seed` only.
/// `first_byte` is a multiple of 8 and of the element's (block's) bytes.
void fill_values(std::span<std::byte> out, std::uint64_t seed, std::uint64_t first_byte, const Tensor& tensor);

/// A file being written. commit() makes its bytes durable, so that they can be dropped from the page cache; without it
/// the destructor removes the file. Throws std::runtime_error with the path.
class Output {
 public:
  explicit Output(std::filesystem::path path, Progress& progress);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  /// Appends the payload of `tensor`: finite random values that depend only on its name. Returns their CRC-32.
  std::uint32_t append_payload(const Tensor& tensor);
  /// Leaves a hole.
  void skip(std::uint64_t bytes) noexcept { position_ += bytes; }
  /// Overwrites earlier bytes.
  void patch(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  void commit();

 private:
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  [[noreturn]] void fail(std::string_view what) const;

  std::filesystem::path path_;
  Progress& progress_;
  std::vector<std::byte> buffer_;
  std::uint64_t position_ = 0;
  int file_ = -1;
  bool whole_ = false;
};

/// Appends the little-endian bytes of an integer to `out`.
template <class T>
void put_le(std::vector<std::byte>& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i)));
}

inline void put_text(std::vector<std::byte>& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace bench
