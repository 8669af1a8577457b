#include "materialize/io/direct_reader.hpp"

#include <algorithm>
#include <utility>

#include "heft/error.hpp"
#include "materialize/sink/host_sink.hpp"

namespace heft::engine {
namespace {

constexpr unsigned queue_depth = 64;
// Files of requests under way, beside the one that is fed.
constexpr std::size_t max_files = 3;
// A device reads this many bytes sooner than it starts another request.
constexpr std::uint64_t direct_gap = 32u << 10;
// Shorter runs are not worth requests of their own: they come with their neighbours, through the ring.
constexpr std::uint64_t worth_a_request = 256u << 10;

// Appends a request, or lengthens the last one where nothing worth leaving out lies between.
void add_request(std::vector<Range>& requests, Range request, std::uint64_t gap) {
  if (!requests.empty() && request.begin <= requests.back().end + gap)
    requests.back().end = std::max(requests.back().end, request.end);
  else
    requests.push_back(request);
}

Range aligned_to(Range range, std::uint64_t alignment) noexcept {
  return {range.begin / alignment * alignment, (range.end + alignment - 1) / alignment * alignment};
}

}  // namespace

DirectPump::DirectPump(Load& load, LoadStats& share)
    : load_(load),
      share_(share),
      slice_bytes_(load.handover() == nullptr ? direct_slice : device_slice),
      ring_(load.take_ring()) {
  mmap::DirectSetup setup{.buffers = {ring_->span()}, .depth = queue_depth};
  if (load.handover() != nullptr) setup.buffers.push_back(load.handover()->slots().memory());
  queue_ = mmap::DirectQueue::open(std::move(setup));
}

// Nobody may take a slot, or the destination's memory, for his own while the device still writes to it.
DirectPump::~DirectPump() { queue_.reset(); }

DirectPump::Fed DirectPump::feed(std::span<const Chunk> chunks, const std::shared_ptr<const mmap::DirectFile>& file) {
  const Chunk& first = chunks.front();
  await_descriptors(first.source);
  file_ = file;
  if (first.contiguous) {
    feed_plain(first);
    return {1, first.range.size()};
  }
  std::vector<Range> requests = requests_for(first);
  Fed fed{1, needed_bytes(load_.schedule(), first)};
  for (; fed.chunks < chunks.size() && join(requests, chunks[fed.chunks]); ++fed.chunks)
    fed.bytes += needed_bytes(load_.schedule(), chunks[fed.chunks]);
  send({.chunks = chunks.first(fed.chunks),
        .range = {first.range.begin, requests.back().end},
        .aligned = {requests.front().begin, requests.back().end},
        .needed = fed.bytes},
       requests);
  return fed;
}

// Adds the requests of a chunk to those of the ones before it, or nothing if they are too far or would be too many.
bool DirectPump::join(std::vector<Range>& requests, const Chunk& chunk) const {
  if (chunk.contiguous) return false;
  const std::vector<Range> more = requests_for(chunk);
  const std::uint64_t most = std::min<std::uint64_t>(slice_bytes_, ring_->span().size() / 4);
  const bool is_far = more.front().begin > requests.back().end + direct_gap;
  const bool is_large = std::max(more.back().end, requests.back().end) > requests.front().begin + most;
  if (is_far || is_large || requests.size() + more.size() > queue_depth / 2) return false;
  for (const Range& request : more) add_request(requests, request, direct_gap);
  return true;
}

// Long runs go straight to where they belong, but for a head and a tail of less than a block; what lies between does
// not.
void DirectPump::feed_plain(const Chunk& chunk) {
  std::uint64_t fed = chunk.range.begin;
  std::uint64_t seen = fed;
  for (const Part& part : load_.schedule().parts_of(chunk)) {
    if (part.from < seen) continue;
    const Run run = load_.straight_run(chunk, part.from);
    seen = part.from + run.size;
    const Range straight = straight_part(part.from, run);
    if (straight.size() == 0) continue;
    feed_aligned(chunk, {fed, straight.begin});
    feed_straight(chunk, straight, run.to + (straight.begin - part.from));
    fed = straight.end;
  }
  feed_aligned(chunk, {fed, chunk.range.end});
}

// The whole blocks of a run, if their places are such that the device can write there.
Range DirectPump::straight_part(std::uint64_t at, const Run& run) const {
  if (run.to == nullptr || run.size < worth_a_request) return {};
  const std::uint64_t block = file_->offset_alignment();
  const Range inside{(at + block - 1) / block * block, (at + run.size) / block * block};
  const auto address = reinterpret_cast<std::uintptr_t>(run.to) + (inside.begin - at);
  return address % file_->memory_alignment() == 0 ? inside : Range{};
}

void DirectPump::feed_straight(const Chunk& chunk, Range range, std::byte* to) {
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    const Range slice{begin, std::min(range.end, (begin / slice_bytes_ + 1) * slice_bytes_)};
    send({.chunks = {&chunk, 1},
          .range = slice,
          .aligned = slice,
          .needed = slice.size(),
          .memory = to + (begin - range.begin),
          .straight = true},
         {slice});
    begin = slice.end;
  }
}

void DirectPump::feed_aligned(const Chunk& chunk, Range range) {
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    // Slices end on multiples of their size, so that only the first and the last one are read with a margin.
    const Range slice{begin, std::min(range.end, (begin / slice_bytes_ + 1) * slice_bytes_)};
    const Range aligned = aligned_to(slice, file_->offset_alignment());
    send({.chunks = {&chunk, 1}, .range = slice, .aligned = aligned, .needed = slice.size()}, {aligned});
    begin = slice.end;
  }
}

std::vector<Range> DirectPump::requests_for(const Chunk& chunk) const {
  const std::uint64_t alignment = file_->offset_alignment();
  if (!chunk.sparse) return {aligned_to(chunk.range, alignment)};
  std::vector<Range> requests;
  for (const Range& needed : needed_ranges(load_.schedule(), chunk, direct_gap))
    add_request(requests, aligned_to(needed, alignment), 0);
  return requests;
}

void DirectPump::send(Flight flight, const std::vector<Range>& requests) {
  await_room(std::min<std::size_t>(requests.size(), queue_depth));
  if (flight.memory == nullptr) place(flight);
  const std::uint64_t needed = flight.needed;
  flights_.push_back(std::move(flight));
  const std::uint64_t token = first_token_ + flights_.size() - 1;
  std::uint64_t asked = 0;
  for (const Range& request : requests) {
    while (queue_->in_flight() == queue_depth) await_request();
    Flight& sent = flights_.back();
    queue_->submit(file_, request.begin, {sent.memory + (request.begin - sent.aligned.begin), request.size()}, token);
    ++sent.outstanding;
    asked += request.size();
  }
  share_.over_read += asked - needed;
}

// Memory to read into: a slot for what goes on to far memory as it is; else a piece of the ring behind the newest, or
// at its begin when the end is too near.
void DirectPump::place(Flight& flight) {
  const Budget& budget = load_.budget();
  if (load_.handover() != nullptr && flight.chunks.front().contiguous) {
    while (slots_held_ == budget.buffers_a_worker) land_oldest();
    flush();  // the device is to have work while a slot is waited for
    flight.slot = load_.handover()->take_slot();
    flight.memory = flight.slot.get();
    ++slots_held_;
    return;
  }
  const std::uint64_t capacity = ring_->span().size();
  const std::uint64_t size = flight.aligned.size();
  for (;; land_oldest()) {
    if (head_ == tail_) head_ = tail_ = 0;
    const std::uint64_t at = head_ % capacity;
    const std::uint64_t begin = at + size > capacity ? head_ + capacity - at : head_;
    if (begin + size - tail_ > capacity) continue;
    flight.memory = ring_->span().data() + begin % capacity;
    head_ = flight.ring_end = begin + size;
    share_.peak_ring_bytes = std::max(share_.peak_ring_bytes, head_ - tail_);
    return;
  }
}

// Each file that something is read from is open as long.
void DirectPump::await_descriptors(SourceIndex source) {
  const auto count = [&] {
    std::size_t files = 0;
    SourceIndex last = source;
    for (auto flight = flights_.rbegin(); flight != flights_.rend(); ++flight)
      if (std::exchange(last, flight->chunks.front().source) != flight->chunks.front().source) ++files;
    return files;
  };
  while (!flights_.empty() && flights_.back().chunks.front().source != source && count() >= max_files) land_oldest();
}

void DirectPump::await_room(std::size_t requests) {
  while (queue_->in_flight() + requests > queue_depth) land_oldest();
}

// What went wrong with byte `at` of a flight, with the file and the tensor that it is of.
Error DirectPump::about(const Error& error, const Flight& flight, std::uint64_t at) const {
  const auto reaches = [&](const Chunk& chunk) { return at < chunk.range.end; };
  const auto found = std::find_if(flight.chunks.begin(), flight.chunks.end(), reaches);
  const Chunk& chunk = found == flight.chunks.end() ? flight.chunks.back() : *found;
  return error.with_path(load_.schedule().source(chunk.source).path()).with_tensor(load_.tensor_of(chunk, at));
}

// The request that failed need not be the oldest one's.
void DirectPump::await_request() {
  try {
    const mmap::DirectCompletion done = queue_->wait();
    --flights_[done.token - first_token_].outstanding;
  } catch (const Error& error) {
    const std::uint64_t at = error.offset().value_or(0);
    for (const Flight& flight : flights_) {
      const bool holds = flight.aligned.begin <= at && at < flight.aligned.end;
      if (holds && load_.schedule().source(flight.chunks.front().source).path() == error.path())
        throw about(error, flight, at);
    }
    throw;
  }
}

void DirectPump::land_oldest() {
  const Flight& oldest = flights_.front();
  try {
    const auto begin = std::chrono::steady_clock::now();
    while (oldest.outstanding > 0) await_request();
    share_.worker_fetch_seconds += seconds_since(begin);
    load_.check_stop();
    const auto fetched = std::chrono::steady_clock::now();
    land(oldest);
    share_.worker_copy_seconds += seconds_since(fetched);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    throw about(error, oldest, error.offset().value_or(oldest.range.begin));
  }
  if (oldest.slot) --slots_held_;
  if (oldest.ring_end != 0) tail_ = oldest.ring_end;
  flights_.pop_front();
  ++first_token_;
}

void DirectPump::land(const Flight& flight) {
  if (flight.straight) return load_.advance(flight.range.size());
  const auto fetched = [&](const Range& range) { return flight.memory + (range.begin - flight.aligned.begin); };
  const Chunk& first = flight.chunks.front();
  if (flight.slot)
    load_.advance(load_.handover()->hand_over(load_, first, flight.range, fetched(flight.range), flight.slot));
  else if (first.contiguous)
    deliver(load_, first, flight.range, fetched(flight.range));
  else
    for (const Chunk& chunk : flight.chunks) deliver(load_, chunk, chunk.range, fetched(chunk.range));
}

void DirectPump::flush() { queue_->flush(); }

void DirectPump::drain() {
  while (!flights_.empty()) land_oldest();
  if (!queue_->reason().empty()) load_.note(queue_->reason());
}

}  // namespace heft::engine
