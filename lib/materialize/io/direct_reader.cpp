#include "materialize/io/direct_reader.hpp"

#include <algorithm>
#include <utility>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

constexpr unsigned queue_depth = 64;
// Files of requests under way, beside the one that is submitted to.
constexpr std::size_t max_files = 3;
// A device reads this many bytes sooner than it starts another request.
constexpr std::uint64_t direct_gap = 32u << 10;

// Appends a request, or lengthens the last one where nothing worth leaving out lies between.
void add_request(std::vector<Range>& requests, Range request, std::uint64_t gap) {
  if (!requests.empty() && request.begin <= requests.back().end + gap)
    requests.back().end = std::max(requests.back().end, request.end);
  else
    requests.push_back(request);
}

std::uint64_t slice_of(const Budget& budget, bool has_staging) noexcept {
  if (has_staging) return budget.device_slice;
  // A single read is not cut.
  return budget.reads_singly ? max_single_read : direct_slice;
}

Range aligned_to(Range range, std::uint64_t alignment) noexcept {
  return {range.begin / alignment * alignment, (range.end + alignment - 1) / alignment * alignment};
}

}  // namespace

DirectReader::DirectReader(Setup setup, LoadStats& share)
    : schedule_(setup.schedule),
      sink_(setup.sink),
      monitor_(setup.monitor),
      errors_(setup.errors),
      share_(share),
      slice_bytes_(slice_of(setup.budget, setup.sink.staging() != nullptr)),
      max_staging_buffers_(setup.budget.buffers_a_worker),
      ring_(WorkerMemories::allocate_ring(setup.budget.ring_bytes)) {
  mmap::DirectSetup queue{.buffers = {}, .depth = queue_depth, .allow_ring = !setup.budget.reads_singly};
  // Registered memory is pinned once, and not for each read.
  if (queue.allow_ring) queue.buffers.push_back(ring_.memory());
  if (const StagingPool* staging = sink_.staging()) queue.buffers.push_back(staging->memory());
  queue_ = mmap::DirectQueue::open(std::move(queue));
}

// No staging buffer, and no memory of the destination, is used for anything else while the device still writes to it.
DirectReader::~DirectReader() { queue_.reset(); }

Submitted DirectReader::submit(std::span<const Chunk> chunks, const std::shared_ptr<const mmap::DirectFile>& file) {
  const Chunk& first = chunks.front();
  await_descriptors(first.source);
  file_ = file;
  if (first.contiguous) {
    submit_contiguous(first);
    return {1, first.range.size()};
  }
  std::vector<Range> requests = requests_for(first);
  Submitted submitted{1, needed_bytes(schedule_, first)};
  for (; submitted.chunks < chunks.size() && join(requests, chunks[submitted.chunks]); ++submitted.chunks)
    submitted.bytes += needed_bytes(schedule_, chunks[submitted.chunks]);
  send({.chunks = chunks.first(submitted.chunks),
        .range = {first.range.begin, requests.back().end},
        .aligned = {requests.front().begin, requests.back().end},
        .needed = submitted.bytes},
       requests);
  return submitted;
}

// Adds the requests of a chunk to those of the ones before it, or nothing if they are too far or would be too many.
bool DirectReader::join(std::vector<Range>& requests, const Chunk& chunk) const {
  if (chunk.contiguous) return false;
  const std::vector<Range> more = requests_for(chunk);
  // A quarter of the ring, so that several reads are in flight.
  const std::uint64_t most = std::min<std::uint64_t>(slice_bytes_, ring_.size_bytes() / 4);
  const bool is_far = more.front().begin > requests.back().end + direct_gap;
  const bool is_large = std::max(more.back().end, requests.back().end) > requests.front().begin + most;
  if (is_far || is_large || requests.size() + more.size() > queue_depth / 2) return false;
  for (const Range& request : more) add_request(requests, request, direct_gap);
  return true;
}

// Long runs go straight to where they belong, but for a head and a tail of less than a block; what lies between does
// not.
void DirectReader::submit_contiguous(const Chunk& chunk) {
  std::uint64_t sent = chunk.range.begin;
  std::uint64_t seen = sent;
  for (const Part& part : schedule_.parts_of(chunk)) {
    // A run joins parts that continue each other: those of the last run have been submitted.
    if (part.from < seen) continue;
    const InPlaceRun run = sink_.in_place_run(chunk, part.from);
    seen = part.from + run.size;
    const Range in_place = in_place_part(part.from, run);
    if (in_place.size() == 0) continue;
    // The bytes before the run, with its head of less than a block.
    submit_aligned(chunk, {sent, in_place.begin});
    submit_in_place(chunk, in_place, run.to + (in_place.begin - part.from));
    sent = in_place.end;
  }
  submit_aligned(chunk, {sent, chunk.range.end});
}

// The whole blocks of a run, if their places are such that the device can write there.
Range DirectReader::in_place_part(std::uint64_t at, const InPlaceRun& run) const {
  if (run.to == nullptr || run.size < worth_a_request) return {};
  // Rounded inwards: the device transfers whole blocks, and the memory around the run is that of other tensors.
  const std::uint64_t block = file_->offset_alignment();
  const Range inside{(at + block - 1) / block * block, (at + run.size) / block * block};
  const auto address = reinterpret_cast<std::uintptr_t>(run.to) + (inside.begin - at);
  return address % file_->memory_alignment() == 0 ? inside : Range{};
}

void DirectReader::submit_in_place(const Chunk& chunk, Range range, std::byte* to) {
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    // On multiples of the slice, as in submit_aligned().
    const Range slice{begin, std::min(range.end, (begin / slice_bytes_ + 1) * slice_bytes_)};
    send({.chunks = {&chunk, 1},
          .range = slice,
          .aligned = slice,
          .needed = slice.size(),
          .memory = to + (begin - range.begin),
          .in_place = true},
         {slice});
    begin = slice.end;
  }
}

void DirectReader::submit_aligned(const Chunk& chunk, Range range) {
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    // Slices end on multiples of their size, so that only the first and the last one are read with a margin. What fits
    // one is not cut.
    const std::uint64_t end = range.size() <= slice_bytes_ ? range.end : (begin / slice_bytes_ + 1) * slice_bytes_;
    const Range slice{begin, std::min(range.end, end)};
    const Range aligned = aligned_to(slice, file_->offset_alignment());
    send({.chunks = {&chunk, 1}, .range = slice, .aligned = aligned, .needed = slice.size()}, {aligned});
    begin = slice.end;
  }
}

std::vector<Range> DirectReader::requests_for(const Chunk& chunk) const {
  const std::uint64_t alignment = file_->offset_alignment();
  if (!chunk.sparse) return {aligned_to(chunk.range, alignment)};
  std::vector<Range> requests;
  for (const Range& needed : needed_ranges(schedule_, chunk, direct_gap))
    add_request(requests, aligned_to(needed, alignment), 0);
  return requests;
}

void DirectReader::send(InFlightRead read, const std::vector<Range>& requests) {
  await_room(std::min<std::size_t>(requests.size(), queue_depth));
  if (read.memory == nullptr) place(read);
  const std::uint64_t needed = read.needed;
  reads_.push_back(std::move(read));
  // Tokens count the reads of this reader: less first_token_, one is a position in reads_.
  const std::uint64_t token = first_token_ + reads_.size() - 1;
  std::uint64_t asked = 0;
  for (const Range& request : requests) {
    // A sparse chunk can have more runs than the queue has entries.
    while (queue_->in_flight() == queue_depth) await_request();
    InFlightRead& sent = reads_.back();
    queue_->submit(file_, request.begin, {sent.memory + (request.begin - sent.aligned.begin), request.size()}, token);
    ++sent.outstanding;
    asked += request.size();
  }
  // Margins of alignment, gaps that are read over, and bytes that the chunk before needs too.
  share_.over_read += asked - needed;
}

// Memory to read into: a staging buffer for what goes on to device memory as it is; else a piece of the ring behind the
// newest, or at its start when the end is too near.
void DirectReader::place(InFlightRead& read) {
  if (sink_.staging() != nullptr && read.chunks.front().contiguous) {
    while (staging_held_ == max_staging_buffers_) write_oldest();
    flush();  // the device is to have work while the worker waits for a buffer
    read.staging = sink_.staging()->take();
    read.memory = read.staging.get();
    ++staging_held_;
    return;
  }
  std::optional<ReadRing::Piece> piece;
  while (!(piece = ring_.take(read.aligned.size()))) write_oldest();
  read.memory = piece->memory;
  read.ring_end = piece->end;
  share_.peak_staging_bytes = std::max(share_.peak_staging_bytes, ring_.used_bytes());
}

// Each file that something is read from is open as long.
void DirectReader::await_descriptors(SourceIndex source) {
  const auto count = [&] {
    std::size_t files = 0;
    SourceIndex last = source;
    for (auto read = reads_.rbegin(); read != reads_.rend(); ++read)
      if (std::exchange(last, read->chunks.front().source) != read->chunks.front().source) ++files;
    return files;
  };
  while (!reads_.empty() && reads_.back().chunks.front().source != source && count() >= max_files) write_oldest();
}

void DirectReader::await_room(std::size_t requests) {
  while (queue_->in_flight() + requests > queue_depth) write_oldest();
}

// Returns the error of byte `at` of a read, with its file and tensor.
Error DirectReader::about(const Error& error, const InFlightRead& read, std::uint64_t at) const {
  const auto reaches = [&](const Chunk& chunk) { return at < chunk.range.end; };
  const auto found = std::find_if(read.chunks.begin(), read.chunks.end(), reaches);
  return errors_.about(error, found == read.chunks.end() ? read.chunks.back() : *found, at);
}

// The request that failed need not be the oldest one's.
void DirectReader::await_request() {
  try {
    const mmap::DirectCompletion done = queue_->wait();
    --reads_[done.token - first_token_].outstanding;
  } catch (const Error& error) {
    const std::uint64_t at = error.offset().value_or(0);
    for (const InFlightRead& read : reads_) {
      // The Error of a request has its path and offset, but no token.
      const bool holds = read.aligned.begin <= at && at < read.aligned.end;
      if (holds && schedule_.source(read.chunks.front().source).path() == error.path()) throw about(error, read, at);
    }
    throw;
  }
}

void DirectReader::write_oldest() {
  const InFlightRead& oldest = reads_.front();
  try {
    const auto begin = std::chrono::steady_clock::now();
    // Completions of later reads arrive in between, and are counted for them.
    while (oldest.outstanding > 0) await_request();
    share_.worker_fetch_seconds += seconds_since(begin);
    monitor_.check_stop();
    const auto fetched = std::chrono::steady_clock::now();
    write(oldest);
    share_.worker_copy_seconds += seconds_since(fetched);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    throw about(error, oldest, error.offset().value_or(oldest.range.begin));
  }
  if (oldest.staging) --staging_held_;
  if (oldest.ring_end != 0) ring_.release(oldest.ring_end);
  reads_.pop_front();
  ++first_token_;
}

void DirectReader::write(const InFlightRead& read) {
  if (read.in_place) {
    monitor_.advance(read.range.size());
    return sink_.filled(read.chunks.front(), read.range.size());
  }
  const auto fetched = [&](const Range& range) { return read.memory + (range.begin - read.aligned.begin); };
  const Chunk& first = read.chunks.front();
  if (read.staging)
    sink_.forward(first, read.range, fetched(read.range), read.staging);
  else if (first.contiguous)
    sink_.write(first, read.range, fetched(read.range));
  else
    for (const Chunk& chunk : read.chunks) sink_.write(chunk, chunk.range, fetched(chunk.range));
}

void DirectReader::flush() { queue_->flush(); }

void DirectReader::drain() {
  while (!reads_.empty()) write_oldest();
  // Where io_uring is missing or forbidden, the reads were made by pread: the statistics note it.
  if (!queue_->reason().empty()) monitor_.note(queue_->reason());
}

}  // namespace heft::engine
