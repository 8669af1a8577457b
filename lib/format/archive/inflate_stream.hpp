// format/archive/inflate_stream.hpp: inflates a member front to back in bounded memory; the only user of ISA-L.
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

/// Places in a member where inflating can resume. They are recorded when the member is first inflated, so that reading
/// its parts in any order costs a bounded step for each. Thread-safe: streams of several threads can share them.
class InflatePoints {
 public:
  explicit InflatePoints(std::uint64_t full_size) noexcept;
  ~InflatePoints();
  InflatePoints(const InflatePoints&) = delete;
  InflatePoints& operator=(const InflatePoints&) = delete;

  /// Returns the memory in bytes, a few MiB at most for any member.
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  friend class InflateStream;
  [[nodiscard]] bool is_due(std::uint64_t position) const noexcept;
  void add(const InflateState& state);
  /// Returns the last point at or before `offset`, or null.
  [[nodiscard]] std::shared_ptr<const InflateState> before(std::uint64_t offset) const noexcept;

  const std::uint64_t spacing_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const InflateState>> points_;  // by position
};

/// Inflates a member while it is read. Memory: the state of the inflater (some 100 KiB) and two buffers.
///
/// The checksum comes after the bytes: finish() compares it, and bytes read before are valid only if it succeeds. Not
/// thread-safe.
class InflateStream {
 public:
  /// Memory in bytes of a stream, without the caller's buffers.
  static constexpr std::uint64_t footprint = 512u << 10;

  /// `packed` must outlive the stream and contain the member's range. `what` names the member in errors.
  InflateStream(const core::Input& packed, const Member& member, std::string what);
  ~InflateStream();
  InflateStream(InflateStream&&) noexcept;
  InflateStream& operator=(InflateStream&&) = delete;

  /// Reads the inflated bytes [offset, offset + into.size()), which must lie inside the member. Bytes between the
  /// position and `offset` are inflated and dropped; a step back resumes at one of Member::points or at the start of
  /// the member. Throws Error{corrupt}, and the errors of `packed`.
  void read(std::uint64_t offset, std::span<std::byte> into);
  /// Inflates to the end. Throws Error{corrupt} unless the member has exactly its declared size and checksum.
  void finish();
  /// Returns the offset of the next inflated byte.
  [[nodiscard]] std::uint64_t position() const noexcept;
  /// Returns the number of steps back.
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
  std::vector<std::byte> dropped_;  // receives skipped bytes
  std::uint64_t restarts_ = 0;
};

/// The inflated bytes of a member as an Input for a format. The last ones are kept for short steps back over heads.
/// Longer steps back start the member again, a bounded number of times.
class InflatedInput final : public core::Input {
 public:
  /// `packed` must outlive it.
  InflatedInput(const core::Input& packed, const Member& member, std::string what);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_; }
  /// Throws Error{unsupported} after too many long steps back.
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  void read_into(std::uint64_t offset, std::span<std::byte> into) const override;
  /// The same as InflateStream::finish().
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
