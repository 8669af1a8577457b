#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/inflate_stream.hpp"
#include "heft/error.hpp"
#include "record/source.hpp"

namespace heft::record {

/// A stream and its input.
struct InflatedPart {
  InflatedPart(const Source* source, std::shared_ptr<const Source> packed, const format::Member& member,
               std::string what)
      : of(source), from(std::move(packed)), input(*from), stream(input, member, std::move(what)) {}

  const Source* of;
  std::shared_ptr<const Source> from;
  SourceInput input;
  format::InflateStream stream;
};

LastInflated::LastInflated() = default;
LastInflated::~LastInflated() = default;

void LastInflated::keep(Bytes bytes) {
  const std::scoped_lock lock(mutex_);
  // The old bytes, up to gigabytes, are freed with the parameter, after the unlock.
  std::swap(bytes_, bytes);
}

void LastInflated::park(std::unique_ptr<InflatedPart> part) noexcept {
  const std::scoped_lock lock(mutex_);
  std::swap(parked_, part);
}

std::unique_ptr<InflatedPart> LastInflated::take(const Source* source) noexcept {
  const std::scoped_lock lock(mutex_);
  return parked_ && parked_->of == source ? std::move(parked_) : nullptr;
}

namespace {

// Inflates while it is read. The checksum is compared once: later changes of the file are detected by its identity.
class InflatedReader final : public SourceReader {
 public:
  InflatedReader(std::unique_ptr<InflatedPart> part, std::uint64_t size, std::shared_ptr<LastInflated> last,
                 std::atomic<bool>& proven, std::shared_ptr<const void> owner) noexcept
      : part_(std::move(part)), size_(size), last_(std::move(last)), proven_(proven), owner_(std::move(owner)) {}
  // Stores the stream, so that the next reader, of the following tensor of a load, can continue from here.
  ~InflatedReader() override {
    if (sound_ && part_->stream.position() < size_) last_->park(std::move(part_));
  }

  void read(std::uint64_t offset, std::span<std::byte> into) override {
    attempt([&] { part_->stream.read(offset, into); });
  }
  void finish() override {
    // A load has several readers of one record; the first that reaches its end proves it for all.
    if (proven_.load(std::memory_order_relaxed)) return;
    attempt([&] { part_->stream.finish(); });
    proven_.store(true, std::memory_order_relaxed);
  }

 private:
  template <class Step>
  void attempt(const Step& step) {
    // A stream that has failed cannot continue and is not parked.
    sound_ = false;
    try {
      step();
    } catch (const Error& error) {
      throw error.with_path(part_->from->path());
    }
    sound_ = true;
  }

  std::unique_ptr<InflatedPart> part_;
  std::uint64_t size_;
  std::shared_ptr<LastInflated> last_;
  std::atomic<bool>& proven_;          // of the source
  std::shared_ptr<const void> owner_;  // keeps the source
  bool sound_ = true;
};

// Readers inflate in bounded memory. For random access, the whole record is inflated to its declared size and kept
// while bytes of it are referenced. The last used record of a file is kept too, so that reading element by element
// inflates once; at most one unreferenced record is in memory.
class InflatedSource final : public Source, public std::enable_shared_from_this<InflatedSource> {
 public:
  InflatedSource(std::shared_ptr<const Source> packed, format::Member member,
                 std::shared_ptr<LastInflated> last) noexcept
      : packed_(std::move(packed)), member_(std::move(member)), last_(std::move(last)), proven_(member_.proven) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::made; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return member_.full_size; }
  [[nodiscard]] const Source* root() const noexcept override { return packed_->root(); }
  [[nodiscard]] std::string_view path() const noexcept override { return packed_->path(); }
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    return inflated().subrange(offset, size);
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    const Bytes from = inflated().subrange(offset, into.size());
    if (!into.empty()) std::memcpy(into.data(), from.data(), into.size());
  }

  [[nodiscard]] Order order() const noexcept override { return Order::ascending; }
  [[nodiscard]] std::uint64_t reader_bytes() const noexcept override {
    return format::InflateStream::footprint + (packed_->kind() == Kind::requested ? SourceInput::max_window_bytes : 0);
  }
  [[nodiscard]] std::unique_ptr<SourceReader> reader(format::GatherRun) const override {
    // Tensors of one record are read one after the other: continues where the reader of the previous one has stopped.
    std::unique_ptr<InflatedPart> part = last_->take(this);
    if (!part) part = std::make_unique<InflatedPart>(this, packed_, member_, what());
    return std::make_unique<InflatedReader>(std::move(part), member_.full_size, last_, proven_, shared_from_this());
  }
  void prove() const override {
    try {
      InflatedPart(this, packed_, member_, what()).stream.finish();
      proven_.store(true, std::memory_order_relaxed);
    } catch (const Error& error) {
      throw error.with_path(path());
    }
  }

 private:
  [[nodiscard]] std::string what() const { return fmt::format("record '{}'", core::escaped(member_.name)); }

  [[nodiscard]] Bytes inflated() const {
    // Threads that need the same record wait for the one that inflates it.
    const std::scoped_lock lock(mutex_);
    Bytes all;
    if (auto owner = kept_.lock())
      all = Bytes({data_, static_cast<std::size_t>(member_.full_size)}, std::move(owner));
    else
      all = inflate();
    last_->keep(all);
    return all;
  }

  [[nodiscard]] Bytes inflate() const {
    try {
      // Reads the file instead of using the mapping: if the file shrinks, that is an Error, not SIGBUS, and its pages
      // are not kept.
      const Bytes deflated = packed_->kind() == Kind::memory ? packed_->bytes(member_.begin, member_.size)
                                                             : read_bytes(*packed_, member_.begin, member_.size);
      packed_->check_unchanged();
      Bytes all = format::inflate(deflated.span(), member_.full_size, format::deflate_max_ratio, what());
      if (member_.crc32 != 0 && format::crc32(all.span()) != member_.crc32)
        throw Error(ErrorCode::corrupt, fmt::format("{}: its checksum is not the one the directory declares", what()));
      data_ = all.data();
      kept_ = all.owner();
      return all;
    } catch (const Error& error) {
      throw error.with_path(path());
    }
  }

  std::shared_ptr<const Source> packed_;
  format::Member member_;
  std::shared_ptr<LastInflated> last_;
  mutable std::atomic<bool> proven_;
  mutable std::mutex mutex_;
  mutable const std::byte* data_ = nullptr;
  mutable std::weak_ptr<const void> kept_;
};

}  // namespace

std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> packed, const format::Member& member,
                                              std::shared_ptr<LastInflated> last) {
  return std::make_shared<InflatedSource>(std::move(packed), member, std::move(last));
}

}  // namespace heft::record
