// core/cursor.hpp: checked sequential reading of a file's bytes, in chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/endian.hpp"
#include "core/input.hpp"
#include "heft/bytes.hpp"

namespace heft::core {

/// Reads a region of an Input from its start to its end. Numbers and spans are checked against the bytes that remain; a
/// declared length is never allocated, only compared.
///
/// Bytes are fetched in chunks of at least `chunk_bytes` (fewer at the end), each once. A chunk that follows another
/// without a gap is twice as large, up to max_chunk_bytes; after a skip, chunks start small again. Spans returned by
/// take() are valid while the chunks live: release() hands the chunks over, so that names can point into them. The
/// bytes of a MemoryInput are not copied.
class Cursor {
 public:
  static constexpr std::uint64_t default_chunk_bytes = 256u << 10;
  static constexpr std::uint64_t max_chunk_bytes = 2u << 20;

  /// Reads the region [begin, end) of `input`, which must outlive the cursor. Throws Error{corrupt} unless
  /// begin <= end <= size.
  Cursor(const Input& input, std::uint64_t begin, std::uint64_t end, std::uint64_t chunk_bytes = default_chunk_bytes);
  explicit Cursor(const Input& input) : Cursor(input, 0, input.size_bytes()) {}

  /// Returns the budget of the Input.
  [[nodiscard]] const std::shared_ptr<MetadataBudget>& budget() const noexcept { return input_.budget(); }
  /// Offset of the next byte in the Input.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  /// Bytes left in the region.
  [[nodiscard]] std::uint64_t remaining() const noexcept { return end_ - offset_; }

  /// Bytes of a chunk that does not follow another: small where the caller reads short pieces between payloads.
  [[nodiscard]] std::uint64_t first_chunk_bytes() const noexcept { return first_chunk_bytes_; }

  /// Returns the next sizeof(T) bytes as a number. `what` names it in the Error{corrupt} thrown when fewer remain.
  template <class T>
  T little(std::string_view what) {
    return load_le<T>(next(sizeof(T), what));
  }
  template <class T>
  T big(std::string_view what) {
    return load_be<T>(next(sizeof(T), what));
  }
  std::uint8_t u8(std::string_view what) { return std::to_integer<std::uint8_t>(*next(1, what)); }

  /// Returns the next `size` bytes, contiguous in memory.
  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    return {next(size, what), static_cast<std::size_t>(size)};
  }
  std::string_view text(std::uint64_t size, std::string_view what) {
    return {reinterpret_cast<const char*>(next(size, what)), static_cast<std::size_t>(size)};
  }
  /// Returns the bytes up to the next LF, which is consumed and not returned. Throws Error{corrupt} when `limit` bytes
  /// contain no LF.
  std::string_view line(std::uint64_t limit, std::string_view what);
  /// Returns the bytes from `ahead` bytes after the next one on, without passing over them: `least` or more, fewer only
  /// where the region ends. They are valid until the next call. Bytes beyond the current chunk are read into one buffer
  /// and not kept, so that skip() can pass over what was only looked at in bounded memory.
  std::span<const std::byte> look(std::uint64_t ahead, std::uint64_t least);
  /// Returns the next bytes, `size` or more, fewer only where the region ends, without passing over them. They are
  /// valid as those of take().
  std::span<const std::byte> peek(std::uint64_t size, std::string_view what);
  /// Passes over `size` bytes without reading them.
  void skip(std::uint64_t size, std::string_view what);

  /// Hands over the chunks read so far; spans are valid as long as these live. The cursor can be read further.
  [[nodiscard]] std::vector<Bytes> release() noexcept;

 private:
  const std::byte* next(std::uint64_t size, std::string_view what) {
    if (size <= static_cast<std::uint64_t>(limit_ - at_)) [[likely]] {
      const std::byte* from = at_;
      at_ += size;
      offset_ += size;
      return from;
    }
    return refill(size, what);
  }
  const std::byte* refill(std::uint64_t size, std::string_view what);

  const Input& input_;
  std::uint64_t offset_;
  std::uint64_t end_;
  std::uint64_t first_chunk_bytes_;
  std::uint64_t chunk_bytes_;
  const std::byte* at_ = nullptr;     // next byte in the current chunk
  const std::byte* limit_ = nullptr;  // its end
  std::vector<Bytes> chunks_;
  std::vector<std::byte> window_;  // of look()
  std::uint64_t window_begin_ = 0;
};

}  // namespace heft::core
