#include "core/cursor.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft::core {
namespace {

constexpr std::uint64_t window_bytes = 256u << 10;  // stays in the second-level cache

}  // namespace

void Input::read_into(std::uint64_t offset, std::span<std::byte> into) const {
  // One copy more than an override needs, which reads into the caller's memory at once.
  const Bytes bytes = read(offset, into.size());
  if (!into.empty()) std::memcpy(into.data(), bytes.data(), into.size());
}

Bytes MemoryInput::read(std::uint64_t offset, std::uint64_t size) const {
  require_inside(offset, size, bytes_.size_bytes(), "the file");
  return bytes_.subrange(offset, size);
}

Cursor::Cursor(const Input& input, std::uint64_t begin, std::uint64_t end, std::uint64_t chunk_bytes)
    : input_(input), offset_(begin), end_(end), first_chunk_bytes_(chunk_bytes), chunk_bytes_(chunk_bytes) {
  if (begin > end)
    throw Error(ErrorCode::corrupt, fmt::format("expected a range that ends after its start, found the end {}", end),
                {.offset = begin});
  require_inside(begin, end - begin, input.size_bytes(), "the file");
}

std::string_view Cursor::line(std::uint64_t limit, std::string_view what) {
  // Searches 256 bytes first, then four times as many each time, so that a short line does not fetch a whole region.
  // Only a line that crosses the end of a chunk is fetched a second time.
  for (std::uint64_t look = std::min<std::uint64_t>(remaining(), 256);; look = std::min(remaining(), look * 4)) {
    const std::byte* from = next(look, what);
    // Steps back: the bytes were only looked at, and remain to be read.
    at_ = from;
    offset_ -= look;
    const void* newline = look == 0 ? nullptr : std::memchr(from, '\n', static_cast<std::size_t>(look));
    const std::uint64_t length =
        newline ? static_cast<std::uint64_t>(static_cast<const std::byte*>(newline) - from) : look;
    // Two failures with one message: the line is longer than the limit, or the region ends without a line feed.
    if (length > limit || (!newline && look == remaining()))
      throw Error(ErrorCode::corrupt,
                  fmt::format("expected a line feed within {} bytes of {}", std::min(limit, remaining()), what),
                  {.offset = offset_});
    if (!newline) continue;
    const std::string_view line = text(length, what);
    next(1, what);
    return line;
  }
}

std::span<const std::byte> Cursor::look(std::uint64_t ahead, std::uint64_t least) {
  if (ahead >= remaining()) return {};
  const std::uint64_t left = remaining() - ahead;
  least = std::min(least, left);
  const auto in_chunk = static_cast<std::uint64_t>(limit_ - at_);
  if (inside(ahead, least, in_chunk)) return {at_ + ahead, limit_};
  const std::uint64_t from = offset_ + ahead;
  if (from < window_begin_ || !inside(from - window_begin_, least, window_.size())) {
    // Resized only at the first look and at the end of the region, so that the buffer is not filled twice.
    window_.resize(static_cast<std::size_t>(std::min(std::max(least, window_bytes), left)));
    input_.read_into(from, window_);
    window_begin_ = from;
  }
  return std::span<const std::byte>(window_).subspan(static_cast<std::size_t>(from - window_begin_));
}

std::span<const std::byte> Cursor::peek(std::uint64_t size, std::string_view what) {
  size = std::min(size, remaining());
  const std::byte* const from = next(size, what);
  at_ = from;
  offset_ -= size;
  return {from, limit_};
}

void Cursor::skip(std::uint64_t size, std::string_view what) {
  require_inside(offset_, size, end_, what);
  offset_ += size;
  // The target lies in the current chunk, which is kept. Past its end the bytes between are never read, and the next
  // chunk starts small again, because it does not follow the last one. chunks_ keeps old chunks: spans that take()
  // returned point into them.
  if (size <= static_cast<std::uint64_t>(limit_ - at_)) {
    at_ += size;
    return;
  }
  at_ = limit_ = nullptr;
  chunk_bytes_ = first_chunk_bytes_;
}

std::vector<Bytes> Cursor::release() noexcept {
  // Without a current chunk the next read fetches again: the chunks are the caller's now.
  at_ = limit_ = nullptr;
  return std::exchange(chunks_, {});
}

const std::byte* Cursor::refill(std::uint64_t size, std::string_view what) {
  require_inside(offset_, size, end_, what);
  // A chunk that follows the one before it without a gap is twice as large: sequential readers, such as those of a
  // tokenizer's strings, make few reads then.
  if (limit_ != nullptr && chunk_bytes_ < max_chunk_bytes) chunk_bytes_ = std::min(2 * chunk_bytes_, max_chunk_bytes);
  const std::uint64_t fetched = std::min(std::max(size, chunk_bytes_), remaining());
  chunks_.push_back(input_.read(offset_, fetched));
  at_ = chunks_.back().span().data();
  limit_ = at_ + fetched;
  return next(size, what);
}

}  // namespace heft::core
