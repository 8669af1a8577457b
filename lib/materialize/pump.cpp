#include "materialize/pump.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/landing.hpp"

namespace heft::engine {
namespace {

constexpr unsigned queue_depth = 64;
// Plain chunks are read in requests of this size: several are in flight in the smallest ring that suits the machine.
constexpr std::uint64_t slice_bytes = 1u << 20;
// A device reads this many bytes sooner than it starts another request.
constexpr std::uint64_t direct_gap = 32u << 10;

Range aligned_to(Range range, std::uint64_t alignment) noexcept {
  return {range.begin / alignment * alignment, (range.end + alignment - 1) / alignment * alignment};
}

}  // namespace

DirectPump::DirectPump(Load& load, LoadStats& share)
    : load_(load), share_(share), memory_(Arena::allocate(load.budget().ring_bytes, Arena::huge_page)), numbers_(load.layout().sources.size()) {
  mmap::DirectSetup setup{.files = {}, .buffers = {memory_->span()}, .depth = queue_depth};
  const auto& files = load.direct_files();
  for (std::size_t source = 0; source < files.size(); ++source) {
    numbers_[source] = setup.files.size();
    if (files[source]) setup.files.push_back(files[source]);
  }
  queue_ = mmap::DirectQueue::open(std::move(setup));
}

DirectPump::~DirectPump() = default;

void DirectPump::feed(const Chunk& chunk) {
  const Range range = chunk.range;
  if (!chunk.plain) return send(chunk, range, aligned_requests(chunk, range));
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    // Slices end on multiples of their size, so that only the first and the last one of a chunk are read with a margin.
    const std::uint64_t end = std::min(range.end, (begin / slice_bytes + 1) * slice_bytes);
    send(chunk, {begin, end}, aligned_requests(chunk, {begin, end}));
    begin = end;
  }
}

std::vector<Range> DirectPump::aligned_requests(const Chunk& chunk, Range range) const {
  const std::uint64_t alignment = load_.direct_files()[chunk.source]->offset_alignment();
  if (!chunk.sparse) return {aligned_to(range, alignment)};
  std::vector<Range> requests;
  for (const Range& needed : needed_ranges(load_.layout(), chunk, direct_gap)) {
    const Range aligned = aligned_to(needed, alignment);
    if (!requests.empty() && aligned.begin <= requests.back().end) requests.back().end = aligned.end;
    else requests.push_back(aligned);
  }
  return requests;
}

void DirectPump::send(const Chunk& chunk, Range range, const std::vector<Range>& requests) {
  const Range aligned{requests.front().begin, requests.back().end};
  const std::uint64_t at = make_room(aligned.size(), std::min<std::size_t>(requests.size(), queue_depth));
  flights_.push_back({.chunk = &chunk, .range = range, .aligned = aligned, .at = at, .outstanding = 0});
  const std::uint64_t token = first_token_ + flights_.size() - 1;
  std::uint64_t asked = 0;
  for (const Range& request : requests) {
    while (queue_->in_flight() == queue_depth) await_request();
    const std::span<std::byte> into = memory_->span().subspan(at + (request.begin - aligned.begin), request.size());
    queue_->submit(numbers_[chunk.source], request.begin, into, token);
    ++flights_.back().outstanding;
    asked += request.size();
  }
  const std::uint64_t needed = chunk.plain ? range.size() : needed_bytes(load_.layout(), chunk);
  share_.over_read += asked - needed;
  share_.peak_ring_bytes = std::max(share_.peak_ring_bytes, used_);
}

// Space for `size` bytes in one run of the ring, behind the newest flight, or at its begin when the end is too near.
std::uint64_t DirectPump::make_room(std::uint64_t size, std::size_t requests) {
  const std::uint64_t capacity = memory_->span().size();
  for (;;) {
    if (flights_.empty()) head_ = used_ = 0;
    const bool wraps = head_ + size > capacity;
    const std::uint64_t skipped = wraps ? capacity - head_ : 0;
    if (used_ + skipped + size <= capacity && queue_->in_flight() + requests <= queue_depth) {
      used_ += skipped + size;
      const std::uint64_t at = wraps ? 0 : head_;
      head_ = at + size;
      return at;
    }
    land_oldest();
  }
}

void DirectPump::await_request() {
  const mmap::DirectCompletion done = queue_->wait();
  Flight& flight = flights_[done.token - first_token_];
  --flight.outstanding;
}

void DirectPump::land_oldest() {
  const auto begin = std::chrono::steady_clock::now();
  while (flights_.front().outstanding > 0) await_request();
  share_.worker_fetch_seconds += seconds_since(begin);
  const Flight flight = flights_.front();
  load_.check_stop();
  const auto fetched = std::chrono::steady_clock::now();
  land(load_, *flight.chunk, flight.range, memory_->span().data() + flight.at + (flight.range.begin - flight.aligned.begin));
  share_.worker_copy_seconds += seconds_since(fetched);
  flights_.pop_front();
  ++first_token_;
  // What lies between this flight and the next one, skipped at a wrap or not, is free now.
  used_ = flights_.empty() ? 0 : (head_ + memory_->span().size() - flights_.front().at - 1) % memory_->span().size() + 1;
}

void DirectPump::flush() { queue_->flush(); }

void DirectPump::drain() {
  while (!flights_.empty()) land_oldest();
}

}  // namespace heft::engine
