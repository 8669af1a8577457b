#include <algorithm>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/allocate.hpp"
#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/pickle/latin1.hpp"
#include "heft/error.hpp"
#include "record/source.hpp"

namespace heft::record {
namespace {

constexpr std::uint64_t block_bytes = 64u << 10;  // of text

// Bytes that a file spells as text, decoded on demand. The place of a byte depends on all text before it: the
// characters of each block are counted once, up to the requested range, and a range is decoded from the block in which
// it starts. So the whole is never copied, and reading in order reads the text twice, to count and to decode.
class Latin1Source final : public Source, public std::enable_shared_from_this<Latin1Source> {
 public:
  Latin1Source(std::shared_ptr<const Source> text, const format::Member& member) noexcept
      : text_(std::move(text)),
        begin_(member.begin),
        text_bytes_(member.size),
        size_(member.full_size),
        name_(member.name) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::made; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_; }
  [[nodiscard]] const Source* root() const noexcept override { return text_->root(); }
  [[nodiscard]] std::string_view path() const noexcept override { return text_->path(); }

  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    require_inside(offset, size);
    if (size == 0) return {};
    auto room = core::allocate_bytes(size, "to decode into", {.path = std::string(path())});
    const std::span<std::byte> into(room.get(), size);
    read(offset, into);
    return {into, std::move(room)};
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_inside(offset, into.size());
    if (into.empty()) return;
    Buffer buffer;
    Position at = block_of(offset, buffer);
    // Bytes between the start of the block and the range are decoded and dropped.
    // At most a block: block_of() returned the last one that starts at or before the range.
    std::vector<std::byte> passed(std::min<std::uint64_t>(offset - at.decoded, block_bytes));
    decode(at, passed, buffer);
    decode(at, into, buffer);
    // The counts are valid only for an unchanged file.
    check_unchanged();
    // The array has as many bytes as the text has characters: text that is left over is damage, found by the last read.
    if (at.decoded == size_ && at.text != text_bytes_) fail(at.text, "ends before the text does");
  }

  /// Returns the bytes of a block to count and one to decode; text in a deflated record is inflated whole.
  [[nodiscard]] std::uint64_t reader_bytes() const noexcept override {
    return 2 * block_bytes + (text_->kind() == Kind::made ? text_->size_bytes() : 0);
  }
  [[nodiscard]] std::unique_ptr<SourceReader> reader(format::GatherRun) const override;

 private:
  /// The start of a character in the text, and the number of characters before it.
  struct Position {
    std::uint64_t text = 0;
    std::uint64_t decoded = 0;
  };

  struct Buffer {
    std::vector<std::byte> room;
    Bytes owner;
  };

  void require_inside(std::uint64_t offset, std::uint64_t size) const {
    if (core::inside(offset, size, size_)) return;
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a range inside {} bytes, found {} bytes from {}", size_, size, offset),
                {.path = std::string(path())});
  }

  [[noreturn]] void fail(std::uint64_t at, std::string_view finding) const {
    // If the file changed, reports that instead.
    check_unchanged();
    throw Error(ErrorCode::corrupt,
                fmt::format("expected {} bytes spelled as text in the pickle, the array {}", size_, finding),
                {.path = std::string(path()), .tensor = std::string(name_), .offset = begin_ + at});
  }

  /// Returns a block of the text, in `buffer` or in place, with one byte more for its last character. Reads files
  /// instead of using the mapping: if the file shrinks, that is an Error, not SIGBUS, and its pages are not kept.
  [[nodiscard]] std::span<const std::byte> text(std::uint64_t at, Buffer& buffer) const {
    const std::uint64_t size = std::min(block_bytes + 1, text_bytes_ - at);
    if (text_->kind() == Kind::made || text_->kind() == Kind::memory) {
      buffer.owner = text_->bytes(begin_ + at, size);
      return buffer.owner.span();
    }
    buffer.room.resize(block_bytes + 1);
    const auto into = std::span(buffer.room).first(size);
    text_->fetch(begin_ + at, into);
    return into;
  }

  void decode(Position& at, std::span<std::byte> into, Buffer& buffer) const {
    while (!into.empty()) {
      // The text has fewer characters than the array has bytes.
      if (at.text == text_bytes_) fail(at.text, "ends after the text does");
      const std::span<const std::byte> block = text(at.text, buffer);
      const format::Latin1Progress done = format::decode_latin1(block, into);
      // A character of two bytes may be cut by the end of the block: its first byte is then left, and the next block
      // starts with it.
      const bool is_cut = done.read + 1 == block.size() && at.text + block.size() < text_bytes_;
      if (done.written < into.size() && done.read < block.size() && (!is_cut || done.read == 0))
        fail(at.text + done.read, "has a character that is not a byte");
      at.text += done.read;
      at.decoded += done.written;
      into = into.subspan(done.written);
    }
  }

  /// Returns the last block that starts at or before byte `offset`.
  [[nodiscard]] Position block_of(std::uint64_t offset, Buffer& buffer) const {
    const std::scoped_lock lock(mutex_);
    // Under the lock: readers of other threads share the counts, and would read the same text again.
    while (blocks_.back().decoded <= offset) {
      const Position last = blocks_.back();
      const std::uint64_t left = text_bytes_ - last.text;
      if (left == 0) break;
      const std::span<const std::byte> block = text(last.text, buffer);
      std::uint64_t taken = std::min(block_bytes, left);
      // A character that starts in the block belongs to it.
      if (taken < block.size() && (block[taken] & std::byte{0xC0}) == std::byte{0x80}) ++taken;
      blocks_.push_back({last.text + taken, last.decoded + format::count_latin1(block.first(taken))});
    }
    const auto after = std::ranges::upper_bound(blocks_, offset, {}, &Position::decoded);
    return *(after - 1);
  }

  std::shared_ptr<const Source> text_;
  std::uint64_t begin_;
  std::uint64_t text_bytes_;
  std::uint64_t size_;
  std::string_view name_;  // of the catalog, which the source of the text keeps
  mutable std::mutex mutex_;
  mutable std::vector<Position> blocks_{{}};
};

class Latin1Reader final : public SourceReader {
 public:
  explicit Latin1Reader(std::shared_ptr<const Latin1Source> source) noexcept : source_(std::move(source)) {}
  void read(std::uint64_t offset, std::span<std::byte> into) override { source_->read(offset, into); }

 private:
  std::shared_ptr<const Latin1Source> source_;
};

std::unique_ptr<SourceReader> Latin1Source::reader(format::GatherRun) const {
  return std::make_unique<Latin1Reader>(shared_from_this());
}

}  // namespace

std::shared_ptr<const Source> latin1_source(std::shared_ptr<const Source> text, const format::Member& member) {
  return std::make_shared<Latin1Source>(std::move(text), member);
}

}  // namespace heft::record
