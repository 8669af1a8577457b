#include "materialize/io/async_reader.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

// A part of a request's preferred size is fetched sooner than another request is made.
constexpr std::uint64_t gap_part = 16;
// A chunk in more pieces is fetched whole.
constexpr std::size_t max_pieces = 64;

}  // namespace

AsyncReader::~AsyncReader() {
  if (!setup_.gate.has_outstanding(requests_)) return;
  // After an exception: requests in flight write to memory that is freed next, so their ends are waited for.
  setup_.gate.stop();
  setup_.gate.await_all(requests_);
}

Submitted AsyncReader::submit(std::span<const Chunk> chunks) {
  const Chunk& first = chunks.front();
  if (!first.contiguous) return submit_converted(chunks);
  if (whole_in_place(first) != nullptr) return submit_in_place(chunks);
  submit_contiguous(first);
  return {1, needed_bytes(setup_.schedule, first)};
}

// Returns where a chunk goes if it is one run there; else null.
std::byte* AsyncReader::whole_in_place(const Chunk& chunk) const {
  if (!chunk.contiguous) return nullptr;
  const InPlaceRun run = setup_.sink.in_place_run(chunk, chunk.range.begin);
  return run.size >= chunk.range.size() ? run.to : nullptr;
}

// Chunks that continue each other on both sides are one run, which is cut as the source prefers.
Submitted AsyncReader::submit_in_place(std::span<const Chunk> chunks) {
  const std::uint64_t most = limits(chunks.front()).preferred_bytes;
  std::byte* const to = whole_in_place(chunks.front());
  Range range = chunks.front().range;
  std::size_t count = 1;
  // Up to the preferred size: a longer run is cut below in any case.
  for (; count < chunks.size() && range.size() < most; ++count) {
    const Chunk& next = chunks[count];
    if (next.range.begin != range.end || whole_in_place(next) != to + range.size()) break;
    range.end = next.range.end;
  }
  for (std::uint64_t begin = range.begin; begin < range.end; begin += most) {
    const Range piece{begin, std::min(range.end, begin + most)};
    send({.chunks = chunks.first(count), .range = piece, .memory = to + (begin - range.begin), .in_place = true},
         {{piece}});
  }
  return {count, range.size()};
}

// Long runs go straight to where they belong; what lies between does not.
void AsyncReader::submit_contiguous(const Chunk& chunk) {
  const std::uint64_t most = limits(chunk).preferred_bytes;
  std::uint64_t sent = chunk.range.begin;
  std::uint64_t seen = sent;
  for (const Part& part : setup_.schedule.parts_of(chunk)) {
    // A run joins parts that continue each other: those of the last run have been requested.
    if (part.from < seen) continue;
    const InPlaceRun run = setup_.sink.in_place_run(chunk, part.from);
    seen = part.from + run.size;
    if (run.to == nullptr || run.size < worth_a_request) continue;
    // The bytes before the run, which are in gaps or in runs too short for a request.
    submit_staged(chunk, {sent, part.from});
    for (std::uint64_t done = 0; done < run.size; done += most) {
      const Range piece{part.from + done, part.from + std::min(run.size, done + most)};
      send({.chunks = {&chunk, 1}, .range = piece, .memory = run.to + done, .in_place = true}, {{piece}});
    }
    sent = seen;
  }
  submit_staged(chunk, {sent, chunk.range.end});
}

void AsyncReader::submit_staged(const Chunk& chunk, Range range) {
  StagingPool* const staging = setup_.sink.staging();
  const std::uint64_t most =
      // A request fits the memory that it fills: a staging buffer, or the ring.
      std::min(limits(chunk).preferred_bytes, staging != nullptr ? staging->buffer_bytes() : setup_.ring_bytes);
  for (std::uint64_t begin = range.begin; begin < range.end; begin += most) {
    const Range piece{begin, std::min(range.end, begin + most)};
    send({.chunks = {&chunk, 1}, .range = piece}, {{piece}});
  }
}

// Returns the pieces of a chunk that are fetched, none of them larger than the source prefers.
std::vector<Range> AsyncReader::requests_for(const Chunk& chunk) const {
  const std::uint64_t most = limits(chunk).preferred_bytes;
  std::vector<Range> needed{chunk.range};
  if (chunk.sparse) {
    needed = needed_ranges(setup_.schedule, chunk, std::max<std::uint64_t>(most / gap_part, ChunkSizes{}.gap));
    if (needed.size() > max_pieces) needed = {{needed.front().begin, needed.back().end}};
  }
  std::vector<Range> requests;
  for (const Range& range : needed)
    for (std::uint64_t begin = range.begin; begin < range.end; begin += most)
      requests.push_back({begin, std::min(range.end, begin + most)});
  return requests;
}

// Neighbours that fit into the first chunk's last request come with it.
Submitted AsyncReader::submit_converted(std::span<const Chunk> chunks) {
  const Chunk& first = chunks.front();
  std::vector<Range> requests = requests_for(first);
  Submitted submitted{1, needed_bytes(setup_.schedule, first)};
  Range range{first.range.begin, std::max(first.range.end, requests.back().end)};
  // A quarter of the ring, so that several reads are in flight.
  const std::uint64_t most = std::min(limits(first).preferred_bytes, setup_.ring_bytes / 4);
  for (; submitted.chunks < chunks.size(); ++submitted.chunks) {
    const Chunk& next = chunks[submitted.chunks];
    const bool joins = !next.contiguous && !next.sparse && !first.sparse && requests.size() == 1 &&
                       next.range.begin <= range.end + ChunkSizes{}.gap &&
                       std::max(range.end, next.range.end) - range.begin <= most;
    if (!joins) break;
    range.end = std::max(range.end, next.range.end);
    requests.front().end = range.end;
    submitted.bytes += needed_bytes(setup_.schedule, next);
  }
  send({.chunks = chunks.first(submitted.chunks), .range = range}, requests);
  std::uint64_t asked = 0;
  for (const Range& request : requests) asked += request.size();
  // Gaps that are fetched with the chunks, and chunks that repeat bytes of the one before.
  share_.over_read += asked - std::min(asked, submitted.bytes);
  return submitted;
}

void AsyncReader::send(Read read, std::span<const Range> requests) {
  setup_.monitor.check_stop();
  // Before the read joins the list: making room writes the oldest ones of it.
  if (read.memory == nullptr) place(read);
  Read& kept = reads_.emplace_back(std::move(read));
  for (const Range& range : requests) {
    // In a list: the gate refers to a request by its address until it is reported.
    RequestGate::Request& request = kept.requests.emplace_back(RequestGate::Request{
        .gate = nullptr, .of = &requests_, .source = kept.chunks.front().source, .range = range, .left = &kept.left});
    if (!setup_.gate.enter(request)) fail();
    setup_.gate.send(request, {kept.memory + (range.begin - kept.range.begin), range.size()});
  }
}

// Memory to fetch into: a staging buffer for what goes on to device memory as it is, else a piece of the ring.
void AsyncReader::place(Read& read) {
  StagingPool* const staging = setup_.sink.staging();
  if (staging == nullptr || !read.chunks.front().contiguous) return place_in_ring(read);
  // Readers leave a buffer for each worker to write through, without which all would wait for each other.
  while (staging_held_ == setup_.max_staging_buffers) write_oldest();
  read.staging = staging->take();
  read.memory = read.staging.get();
  ++staging_held_;
}

// Behind the newest piece of the ring, or at its start when the end is too near.
void AsyncReader::place_in_ring(Read& read) {
  // Allocated by the first read that needs it: most loads request all their bytes in place.
  if (!ring_) ring_.emplace(Arena::allocate(setup_.ring_bytes, Arena::huge_page));
  std::optional<ReadRing::Piece> piece;
  while (!(piece = ring_->take(read.range.size()))) write_oldest();
  read.memory = piece->memory;
  read.ring_end = piece->end;
  share_.peak_staging_bytes = std::max(share_.peak_staging_bytes, ring_->used_bytes());
}

void AsyncReader::write_oldest() {
  const auto begin = std::chrono::steady_clock::now();
  const Read& oldest = reads_.front();
  // Chunks leave in order, whatever the order of their reports: groups of a stream are completed one after the other.
  if (!setup_.gate.await(requests_, oldest.left)) fail();
  share_.worker_fetch_seconds += seconds_since(begin);
  setup_.monitor.check_stop();
  const auto fetched = std::chrono::steady_clock::now();
  try {
    write(oldest);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    throw setup_.errors.about(error, oldest.chunks.front(), error.offset().value_or(oldest.range.begin));
  }
  share_.worker_copy_seconds += seconds_since(fetched);
  if (oldest.staging) --staging_held_;
  if (oldest.ring_end != 0) ring_->release(oldest.ring_end);
  reads_.pop_front();
}

void AsyncReader::write(const Read& read) {
  // The bytes are in their places; only now do they count.
  if (read.in_place) {
    setup_.monitor.advance(read.range.size());
    return report_filled(read);
  }
  const Chunk& first = read.chunks.front();
  if (read.staging)
    setup_.sink.forward(first, read.range, read.memory, read.staging);
  else if (first.contiguous)
    setup_.sink.write(first, read.range, read.memory);
  else
    for (const Chunk& chunk : read.chunks)
      setup_.sink.write(chunk, chunk.range, read.memory + (chunk.range.begin - read.range.begin));
}

void AsyncReader::report_filled(const Read& read) {
  for (const Chunk& chunk : read.chunks) {
    // A request may end inside a chunk, and cover parts of several.
    const Range part{std::max(chunk.range.begin, read.range.begin), std::min(chunk.range.end, read.range.end)};
    if (part.begin < part.end) setup_.sink.filled(chunk, part.size());
  }
}

void AsyncReader::drain() {
  while (!reads_.empty()) write_oldest();
}

// Throws the failure of the first request that failed. Without one, the load was stopped or has failed elsewhere.
void AsyncReader::fail() const {
  setup_.monitor.check_stop();
  const RequestGate::Request* const failed = setup_.gate.failure(requests_);
  if (failed == nullptr) throw Error(ErrorCode::cancelled, "the load has failed, no more is requested");
  try {
    std::rethrow_exception(failed->failure);
  } catch (const Error& error) {
    throw about(error, *failed);
  }
}

Error AsyncReader::about(const Error& error, const RequestGate::Request& request) const {
  for (const Read& read : reads_) {
    // Searched in failures only: requests do not keep their chunk.
    const bool is_of_read = std::ranges::any_of(read.requests, [&](const auto& each) { return &each == &request; });
    if (!is_of_read) continue;
    const std::uint64_t own = error.offset().value_or(request.range.begin);
    const bool is_inside = request.range.begin <= own && own < request.range.end;
    const std::uint64_t at = is_inside ? own : request.range.begin;
    const auto reaches = [&](const Chunk& chunk) { return at < chunk.range.end; };
    const auto found = std::ranges::find_if(read.chunks, reaches);
    return setup_.errors.about_request(error, found == read.chunks.end() ? read.chunks.back() : *found, at);
  }
  return error;
}

}  // namespace heft::engine
