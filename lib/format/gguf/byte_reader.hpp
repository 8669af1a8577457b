// format/gguf/byte_reader.hpp: reader of GGUF's numbers and strings, in the byte order and length width of one file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/endian.hpp"
#include "heft/error.hpp"

namespace heft::format::gguf {

/// The version and the byte order of one file.
struct Dialect {
  std::uint32_t version = 0;
  bool big_endian = false;

  /// Returns the bytes of a count, a length or a dim: 4 in version 1, 8 in later ones.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return version == 1 ? 4 : 8; }
};

/// Appends a string as in versions 2 and 3, little-endian.
inline void append_string(std::string& bytes, std::string_view text) {
  core::append_le(bytes, static_cast<std::uint64_t>(text.size()));
  bytes += text;
}

/// Reads the numbers and strings of one file from a cursor, which must outlive it.
class ByteReader {
 public:
  /// ggml's bound, far above any string of a real file.
  static constexpr std::uint64_t max_string_bytes = std::uint64_t{1} << 30;

  ByteReader(core::Cursor& cursor, Dialect dialect) noexcept : cursor_(cursor), dialect_(dialect) {}

  [[nodiscard]] const Dialect& dialect() const noexcept { return dialect_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return cursor_.offset(); }
  [[nodiscard]] std::uint64_t remaining() const noexcept { return cursor_.remaining(); }

  template <class T>
  T number(std::string_view what) {
    return dialect_.big_endian ? cursor_.big<T>(what) : cursor_.little<T>(what);
  }

  std::uint64_t length(std::string_view what) {
    return dialect_.version == 1 ? number<std::uint32_t>(what) : number<std::uint64_t>(what);
  }

  /// Returns a string that points into the cursor's chunks.
  std::string_view string(std::string_view what) {
    const std::uint64_t size = length(what);
    if (size > max_string_bytes) [[unlikely]]
      refuse_string(size, what);
    return cursor_.text(size, what);
  }

  /// Returns the next `size` bytes, contiguous in one of the cursor's chunks.
  std::span<const std::byte> take(std::uint64_t size, std::string_view what) { return cursor_.take(size, what); }

  /// Returns a key or a tensor's name without trailing NULs, which files of 2023 have. Throws Error{ambiguous} for a
  /// NUL inside: a reader in C would see another name.
  std::string_view name(std::string_view what);

  /// Returns a declared count of items of at least `min_bytes` each. Throws Error{corrupt} if the remaining bytes are
  /// too few for them.
  std::uint64_t count(std::uint64_t min_bytes, std::string_view what);
  /// Makes the same check for a count that was read before.
  void require_room(std::uint64_t count, std::uint64_t min_bytes, std::string_view what) const;

 private:
  [[noreturn]] void refuse_string(std::uint64_t size, std::string_view what) const;

  core::Cursor& cursor_;
  Dialect dialect_;
};

}  // namespace heft::format::gguf
