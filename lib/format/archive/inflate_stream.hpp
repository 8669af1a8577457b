// format/archive/inflate_stream.hpp: a deflated member read from front to back in bounded memory, the only user of ISA-L.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/input.hpp"
#include "format/catalog.hpp"

namespace heft::format {

struct InflateState;

/// Places in a member from where inflating can go on, taken while it is inflated for the first time: a document whose
/// parts are read in another order than they lie in costs a bounded step for each. Streams of several threads may share
/// them.
class InflatePoints {
 public:
  explicit InflatePoints(std::uint64_t full_size) noexcept;
  ~InflatePoints();
  InflatePoints(const InflatePoints&) = delete;
  InflatePoints& operator=(const InflatePoints&) = delete;

  /// A few MiB at most, whatever the member.
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  friend class InflateStream;
  [[nodiscard]] bool is_due(std::uint64_t position) const noexcept;
  void add(const InflateState& state);
  /// The last one at or before `offset`; null when there is none.
  [[nodiscard]] std::shared_ptr<const InflateState> before(std::uint64_t offset) const noexcept;

  const std::uint64_t spacing_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const InflateState>> points_;  // by position
};

/// Inflates a member as it is read. Memory: the window of the inflater (some 100 KiB) and two buffers.
///
/// Bytes are read before the checksum, which comes last, can be compared: finish() compares it, and what was read
/// counts only after it. One thread.
class InflateStream {
 public:
  /// What a stream takes besides what its caller gives it.
  static constexpr std::uint64_t footprint = 512u << 10;

  /// `packed` must outlive the stream; the member's range lies in it. `what` names the member in sentences.
  InflateStream(const core::Input& packed, const Member& member, std::string what);
  ~InflateStream();
  InflateStream(InflateStream&&) noexcept;
  InflateStream& operator=(InflateStream&&) = delete;

  /// The inflated bytes [offset, offset + into.size()), which lie inside the member. Cheap where offsets go up: what
  /// lies between is inflated and dropped; a step back goes to one of Member::points, or starts the member again.
  /// Throws Error{corrupt}, and what `packed` throws.
  void read(std::uint64_t offset, std::span<std::byte> into);
  /// Inflates to the end. Throws Error{corrupt} unless the member has exactly its declared size and checksum.
  void finish();
  /// Offset of the next inflated byte.
  [[nodiscard]] std::uint64_t position() const noexcept;
  /// How often there was a step back.
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_; }

 private:
  void restart();
  void go_near(std::uint64_t offset);
  void skip_to(std::uint64_t offset);
  void fill(std::span<std::byte> into);
  std::size_t step(std::span<std::byte> into);
  void refill();
  void require_end();
  [[noreturn]] void corrupt(std::string_view finding) const;

  const core::Input* packed_;
  Member member_;
  std::string what_;
  std::unique_ptr<InflateState> state_;
  std::vector<std::byte> input_;
  std::vector<std::byte> dropped_;  // room for what is skipped
  std::uint64_t restarts_ = 0;
};

/// The inflated bytes of a member as something that a format reads. The last ones are kept for steps back over heads;
/// longer ones start the member again, which it does a bounded number of times.
class InflatedInput final : public core::Input {
 public:
  /// `packed` must outlive it.
  InflatedInput(const core::Input& packed, const Member& member, std::string what);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_; }
  /// Throws Error{unsupported} where the document is read back and forth too often.
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  void read_into(std::uint64_t offset, std::span<std::byte> into) const override;
  /// As InflateStream::finish().
  void finish() const { stream_.finish(); }

 private:
  [[nodiscard]] std::uint64_t kept_end() const noexcept { return kept_begin_ + kept_.size(); }
  void go_on(std::uint64_t offset) const;

  std::uint64_t size_;
  std::string what_;
  mutable InflateStream stream_;
  mutable std::vector<std::byte> kept_;  // the last bytes that were inflated
  mutable std::uint64_t kept_begin_ = 0;
};

}  // namespace heft::format
