#include "format/archive/inflate_stream.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <isa-l/igzip_lib.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t input_bytes = 128u << 10;
constexpr std::uint64_t dropped_bytes = 64u << 10;
// The inflater counts in 32 bits.
constexpr std::uint64_t max_step = 1u << 30;
// Bytes kept for short steps back, and the number of longer steps back that a document can take.
constexpr std::uint64_t kept_bytes = 512u << 10;
constexpr std::uint64_t max_restarts = 16;
// Some 90 KiB each.
constexpr std::uint64_t max_points = 32;
constexpr std::uint64_t min_spacing = 8u << 20;

}  // namespace

/// The state that inflating resumes from, without buffered deflated bytes.
struct InflateState {
  inflate_state inflater;
  std::uint64_t fetched = 0;   // deflated bytes read into the input; in an InflatePoint, bytes consumed
  std::uint64_t position = 0;  // of the next inflated byte
  std::uint32_t crc = 0;       // of those before it
};

InflatePoints::InflatePoints(std::uint64_t full_size) noexcept
    : spacing_(std::max(min_spacing, full_size / max_points)) {}
InflatePoints::~InflatePoints() = default;

std::uint64_t InflatePoints::table_bytes() const noexcept {
  const std::scoped_lock lock(mutex_);
  return points_.size() * sizeof(InflateState);
}

bool InflatePoints::is_due(std::uint64_t position) const noexcept {
  const std::scoped_lock lock(mutex_);
  return position >= (points_.empty() ? 0 : points_.back()->position) + spacing_;
}

void InflatePoints::add(const InflateState& state) {
  auto point = std::make_shared<InflateState>(state);
  // The copy resumes without this stream's input buffer: bytes that were fetched and not consumed are fetched again,
  // and the pointers into this stream's buffers are cleared. The window of 32 KiB that matches refer to is inside the
  // inflater's state.
  point->fetched -= point->inflater.avail_in;
  point->inflater.avail_in = 0;
  point->inflater.next_in = point->inflater.next_out = nullptr;
  const std::scoped_lock lock(mutex_);
  // Streams of several threads pass the same places. The table stays sorted: only the first to pass one adds a point.
  if (points_.empty() || point->position > points_.back()->position) points_.push_back(std::move(point));
}

std::shared_ptr<const InflateState> InflatePoints::before(std::uint64_t offset) const noexcept {
  const std::scoped_lock lock(mutex_);
  const auto next = std::ranges::upper_bound(points_, offset, {}, [](const auto& point) { return point->position; });
  // upper_bound() returns the first point after `offset`, so the one before it is the last that is not after.
  return next == points_.begin() ? nullptr : *(next - 1);
}

InflateStream::InflateStream(const core::Input& packed, const Member& member, std::string what)
    : packed_(&packed), member_(member), what_(std::move(what)), state_(std::make_unique<InflateState>()) {
  input_.resize(static_cast<std::size_t>(std::min(member.size, input_bytes)));
  restart();
}

InflateStream::~InflateStream() = default;
InflateStream::InflateStream(InflateStream&&) noexcept = default;

void InflateStream::corrupt(std::string_view finding) const {
  throw Error(ErrorCode::corrupt, fmt::format("{}: {}", core::escaped(what_), finding), {.offset = member_.begin});
}

void InflateStream::restart() {
  isal_inflate_init(&state_->inflater);  // raw deflate: the checksum is computed from the output
  state_->inflater.avail_in = 0;
  state_->fetched = state_->position = state_->crc = 0;
}

std::uint64_t InflateStream::position() const noexcept { return state_->position; }

// Resumes at the last point before `offset` for a step back, or if it is ahead of the position. A step back without a
// point starts the member again.
void InflateStream::go_near(std::uint64_t offset) {
  const auto point = member_.points ? member_.points->before(offset) : nullptr;
  const bool back = offset < state_->position;
  // A point ahead saves inflating what lies between. One behind the position is worse than going on from here.
  if (point && (back || point->position > state_->position))
    *state_ = *point;
  else if (back)
    restart();
  restarts_ += back ? 1 : 0;
}

void InflateStream::read(std::uint64_t offset, std::span<std::byte> into) {
  core::require_inside(offset, into.size(), member_.full_size, what_);
  go_near(offset);
  skip_to(offset);
  fill(into);
}

void InflateStream::skip_to(std::uint64_t offset) {
  if (state_->position < offset) dropped_.resize(dropped_bytes);
  while (state_->position < offset)
    // Deflate has no index: bytes that are not wanted must be inflated too. They also count in the checksum.
    fill(std::span(dropped_).first(std::min<std::uint64_t>(dropped_bytes, offset - state_->position)));
}

void InflateStream::fill(std::span<std::byte> into) {
  while (!into.empty()) {
    // A span over 4 GiB is filled in steps, because ISA-L's counters have 32 bits.
    const std::size_t written = step(into.first(std::min<std::uint64_t>(into.size(), max_step)));
    if (written == 0)
      corrupt(
          fmt::format("expected {} inflated bytes, the deflate stream holds {}", member_.full_size, state_->position));
    state_->crc = crc32(into.first(written), state_->crc);
    state_->position += written;
    // Only the state after a whole step is recorded: position and checksum then belong to the same byte.
    if (member_.points && member_.points->is_due(state_->position)) member_.points->add(*state_);
    into = into.subspan(written);
  }
}

// Inflates until `into` is full, the input is used up, or the stream ends. Returns 0 at the end.
std::size_t InflateStream::step(std::span<std::byte> into) {
  inflate_state& inflater = state_->inflater;
  // A call can consume input without writing, at the head of a block for example, and can end with both buffers used
  // up.
  while (true) {
    inflater.next_out = reinterpret_cast<std::uint8_t*>(into.data());
    inflater.avail_out = static_cast<std::uint32_t>(into.size());
    if (isal_inflate(&inflater) != ISAL_DECOMP_OK) corrupt("malformed deflate stream");
    if (const std::size_t written = into.size() - inflater.avail_out; written > 0) return written;
    // The stream has ended, or the member's bytes have ended before it; the caller compares the number of bytes.
    if (inflater.block_state == ISAL_BLOCK_FINISH || (inflater.avail_in == 0 && state_->fetched == member_.size))
      return 0;
    refill();
  }
}

void InflateStream::refill() {
  inflate_state& inflater = state_->inflater;
  // The inflater keeps a pointer into the buffer: it is overwritten only after all of it was consumed.
  if (inflater.avail_in != 0) return;
  const std::span<std::byte> room =
      std::span(input_).first(std::min<std::uint64_t>(input_.size(), member_.size - state_->fetched));
  packed_->read_into(member_.begin + state_->fetched, room);
  state_->fetched += room.size();
  inflater.next_in = reinterpret_cast<std::uint8_t*>(room.data());
  inflater.avail_in = static_cast<std::uint32_t>(room.size());
}

void InflateStream::finish() {
  skip_to(member_.full_size);
  // One byte more is asked for: a stream that is longer than the declared size returns it, and the inflater can reach
  // the end of the stream only when it is asked for more.
  std::byte beyond[1];
  if (step(beyond) != 0)
    corrupt(fmt::format("expected {} inflated bytes, the deflate stream holds more", member_.full_size));
  require_end();
  if (member_.crc32 != 0 && state_->crc != member_.crc32)
    corrupt(fmt::format("its checksum is {:08x}, expected {:08x} as the file declares", state_->crc, member_.crc32));
}

// Requires the end of the stream. Whole bytes that the inflater consumed in advance are in its bit buffer.
void InflateStream::require_end() {
  const inflate_state& inflater = state_->inflater;
  if (inflater.block_state != ISAL_BLOCK_FINISH) corrupt("malformed deflate stream");
  // Bytes fetched, less those in the input buffer, less whole bytes in the bit buffer: the end of the stream in the
  // member.
  const std::uint64_t used =
      state_->fetched - inflater.avail_in - static_cast<std::uint64_t>(std::max(inflater.read_in_length, 0)) / 8;
  if (used != member_.size)
    corrupt(fmt::format("expected a deflate stream of {} bytes, it ends after {}", member_.size, used));
}

InflatedInput::InflatedInput(const core::Input& packed, const Member& member, std::string what)
    : size_(member.full_size), what_(what), stream_(packed, member, std::move(what)) {}

Bytes InflatedInput::read(std::uint64_t offset, std::uint64_t size) const {
  core::require_inside(offset, size, size_, what_);
  auto room = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(size));
  read_into(offset, *room);
  const std::span<const std::byte> bytes(*room);
  return {bytes, std::move(room)};
}

void InflatedInput::read_into(std::uint64_t offset, std::span<std::byte> into) const {
  core::require_inside(offset, into.size(), size_, what_);
  while (!into.empty()) {
    // Each pass copies what is among the kept bytes, so a read longer than the buffer takes several.
    if (offset < kept_begin_ || offset >= kept_end()) go_on(offset);
    const std::uint64_t from = offset - kept_begin_;
    const std::size_t here = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), kept_.size() - from));
    std::memcpy(into.data(), kept_.data() + from, here);
    offset += here;
    into = into.subspan(here);
  }
}

// Inflates, from the current position or from the start, until `offset` is among the kept bytes.
void InflatedInput::go_on(std::uint64_t offset) const {
  // Each step back before the kept bytes inflates again from a recorded point or from the start. A crafted document
  // could ask for that at every item, and opening it would take quadratic time.
  if (offset < kept_begin_ && stream_.restarts() >= max_restarts)
    throw Error(
        ErrorCode::unsupported,
        fmt::format("{}: the document cannot be read from front to back: unpack it first", core::escaped(what_)),
        {.offset = offset});
  // When reading goes on without a gap, the last half of the buffer is kept for steps back; after a jump nothing is.
  const std::uint64_t tail =
      offset < kept_begin_ || offset > kept_end() ? 0 : std::min<std::uint64_t>(kept_.size(), kept_bytes / 2);
  if (tail > 0) std::memmove(kept_.data(), kept_.data() + kept_.size() - tail, static_cast<std::size_t>(tail));
  const std::uint64_t begin = tail > 0 ? kept_end() : offset;
  const std::uint64_t more = std::min(kept_bytes - tail, size_ - begin);
  kept_.resize(static_cast<std::size_t>(tail + more));
  kept_begin_ = begin - tail;
  stream_.read(begin, std::span(kept_).subspan(static_cast<std::size_t>(tail)));
}

}  // namespace heft::format
