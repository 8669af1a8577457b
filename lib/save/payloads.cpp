// Cuts tensors into chunks, and materializes a batch of chunks into one of two buffers while the other is being
// written.
//
// Not stream(), which delivers whole tensors in the order of the source's bytes: a file is written in the order of its
// bytes, because a checksum is computed over them, and a tensor can be larger than the memory that a save can use.
#include "save/payloads.hpp"

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <numeric>
#include <system_error>
#include <vector>

#include "format/archive/inflate.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "materialize/memory/memory_left.hpp"

namespace heft::writer {
namespace {

// Large enough to amortize the start of threads and device requests, small enough that three of them (two buffers and a
// ring) are little memory.
constexpr std::uint64_t usual_batch_bytes = 16u << 20;
// Offsets in the buffer equal those in the file modulo this, so that elements that are aligned in the file are aligned
// during conversion.
constexpr std::uint64_t alignment = 64;

// A range that is contiguous in the buffer and in the file.
struct Run {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t at = 0;      // in the buffer
  std::uint64_t size = 0;
};

class Batch {
 public:
  explicit Batch(std::uint64_t batch_bytes) : batch_bytes_(batch_bytes), buffer_(new std::byte[batch_bytes]) {}

  [[nodiscard]] bool empty() const noexcept { return chunks_.empty(); }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }

  void clear() noexcept {
    chunks_.clear();
    places_.clear();
    runs_.clear();
    size_ = 0;
    end_ = 0;
    large_.reset();
  }

  // Returns false when the chunk belongs in the next batch: there is no room, or the last chunk is of the same tensor,
  // whose name a plan can contain only once.
  bool add(const SaveChunk& chunk) {
    if (!chunks_.empty() && chunks_.back().payload == chunk.payload) return false;
    const bool follows = !runs_.empty() && runs_.back().offset + runs_.back().size == chunk.offset;
    const std::uint64_t at = follows ? end_ : (end_ + alignment - 1) / alignment * alignment + chunk.offset % alignment;
    if (at + chunk.size > batch_bytes_) {
      if (!empty()) return false;
      if (at + chunk.size >= engine::worth_asking)
        engine::require_memory(
            at + chunk.size, mmap::memory_available(),
            {.path = std::string(chunk.view.shard_path()), .tensor = std::string(chunk.view.name())});
      large_.reset(new std::byte[at + chunk.size]);
    }
    if (!follows) runs_.push_back({.offset = chunk.offset, .at = at, .size = 0});
    runs_.back().size += chunk.size;
    chunks_.push_back(chunk);
    places_.push_back(at);
    end_ = at + chunk.size;
    size_ += chunk.size;
    return true;
  }

  void load(const SaveOptions& options) {
    LoadPlan plan;
    for (std::size_t i = 0; i < chunks_.size(); ++i) plan.add(chunks_[i].view, chunks_[i].dtype, bytes(i));
    const MaterializeOptions load{.threads = options.threads,
                                  .stop = options.stop,
                                  .io_method = options.io_method,
                                  .staging_bytes = batch_bytes_};
    static_cast<void>(materialize(plan, load));
  }

  // Continues the CRC-32 of each payload. Must be called in the order of the batches.
  void add_to(std::vector<std::uint32_t>& checksums) const {
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      std::uint32_t& checksum = checksums[chunks_[i].payload];
      checksum = format::crc32(bytes(i), checksum);
    }
  }

  void write(mmap::ScratchFile& into) const {
    for (const Run& run : runs_) into.write(run.offset, {data() + run.at, run.size});
  }

 private:
  [[nodiscard]] std::byte* data() const noexcept { return large_ ? large_.get() : buffer_.get(); }
  [[nodiscard]] std::span<std::byte> bytes(std::size_t chunk) const noexcept {
    return {data() + places_[chunk], chunks_[chunk].size};
  }

  std::uint64_t batch_bytes_;
  std::unique_ptr<std::byte[]> buffer_;
  std::unique_ptr<std::byte[]> large_;  // for a chunk that cannot be cut to fit
  std::vector<SaveChunk> chunks_;
  std::vector<std::uint64_t> places_;  // of each chunk in the buffer
  std::vector<Run> runs_;
  std::uint64_t end_ = 0;  // in the buffer
  std::uint64_t size_ = 0;
};

// Returns the size of each of two buffers and a ring, reduced when little memory is available. Small files skip the
// query.
std::uint64_t batch_bytes_for(const format::FilePlan& file) {
  if (file.size_bytes < engine::worth_asking) return usual_batch_bytes;
  return engine::modest_bytes(usual_batch_bytes, mmap::memory_available().bytes);
}

// Fills batches from chunks, and keeps a chunk that did not fit for the next batch.
class Batches {
 public:
  explicit Batches(SaveChunks chunks) : chunks_(std::move(chunks)) { advance(); }

  // Returns false when no chunks are left.
  bool fill(Batch& batch) {
    batch.clear();
    while (has_chunk_ && batch.add(chunk_)) advance();
    return !batch.empty();
  }

 private:
  void advance() { has_chunk_ = chunks_.next(chunk_); }

  SaveChunks chunks_;
  SaveChunk chunk_;
  bool has_chunk_ = false;
};

void require_not_stopped(const SaveOptions& options, const mmap::ScratchFile& file) {
  if (options.stop.stop_requested())
    throw Error(ErrorCode::cancelled, "a stop was requested while the file was being written", {.path = file.path()});
}

// Starts the work on another thread. If the system cannot create one, runs it on this thread.
template <class Work>
std::future<void> started(const Work& work) {
  try {
    return std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    std::packaged_task<void()> task(work);
    task();
    return task.get_future();
  }
}

void write_payloads(mmap::ScratchFile& into, Batches batches, std::uint64_t batch_bytes, const SaveOptions& options,
                    std::vector<std::uint32_t>& checksums, const Written& written) {
  std::array<Batch, 2> buffers{Batch(batch_bytes), Batch(batch_bytes)};
  std::future<void> writing;  // declared last: its destructor waits for the thread that uses the buffers
  const Batch* in_writing = nullptr;
  const auto finish_writing = [&] {
    if (in_writing == nullptr) return;
    writing.get();
    written(std::exchange(in_writing, nullptr)->size_bytes());
  };
  for (std::size_t turn = 0; batches.fill(buffers[turn]); turn ^= 1) {
    require_not_stopped(options, into);
    Batch& batch = buffers[turn];
    batch.load(options);
    if (!checksums.empty()) batch.add_to(checksums);
    finish_writing();
    writing = started([&into, &batch] { batch.write(into); });
    in_writing = &batch;
  }
  finish_writing();
}

}  // namespace

bool SaveChunks::next(SaveChunk& into) {
  while (payload_ < file_.payloads.size() && file_.payloads[payload_].size == 0) ++payload_;
  if (payload_ == file_.payloads.size()) return false;
  const format::Payload& payload = file_.payloads[payload_];
  const SaveItem& item = items_[payload.tensor];
  if (!entered_) enter(payload);

  into = {.view = step_ == 0 ? item.view : cut(item.view),
          .dtype = item.dtype,
          .offset = offset_,
          .payload = static_cast<std::uint32_t>(payload_)};
  into.size = bytes_for(item.dtype, into.view.shape());
  offset_ += into.size;
  if (offset_ == payload.offset + payload.size) {
    ++payload_;
    entered_ = false;
  }
  return true;
}

// Returns the part that starts at at_, and advances at_ like an odometer.
TensorView SaveChunks::cut(TensorView view) {
  const Shape whole = view.shape();
  for (std::size_t dim = 0; dim < dim_; ++dim) view = view.slice(dim, at_[dim], at_[dim] + 1);
  const std::int64_t end = std::min(at_[dim_] + step_, whole[dim_]);
  view = view.slice(dim_, at_[dim_], end);
  at_[dim_] = end;
  for (std::size_t dim = dim_; dim > 0 && at_[dim] == whole[dim]; --dim) {
    at_[dim] = 0;
    ++at_[dim - 1];
  }
  return view;
}

// Finds the outermost dim of which a single index fits in a chunk.
void SaveChunks::enter(const format::Payload& payload) {
  const SaveItem& item = items_[payload.tensor];
  const Shape& shape = item.view.shape();
  entered_ = true;
  offset_ = payload.offset;
  step_ = 0;
  if (payload.size <= max_bytes_ || shape.rank() == 0) return;

  std::uint64_t elements = shape.element_count();  // of one index of dim_
  const DTypeInfo& type = info(item.dtype);
  const auto fits = [&](std::uint64_t count) { return count / type.block_elements * type.block_bytes <= max_bytes_; };
  for (dim_ = 0;; ++dim_) {
    elements /= static_cast<std::uint64_t>(shape[dim_]);
    if (dim_ + 1 == shape.rank() || fits(elements)) break;
  }
  // Blocks of both dtypes must stay whole: a tensor whose rows end inside a block is not cut.
  const std::uint64_t block = std::lcm<std::uint64_t>(type.block_elements, info(item.view.dtype()).block_elements);
  const bool innermost = dim_ + 1 == shape.rank();
  if (innermost ? static_cast<std::uint64_t>(shape[dim_]) % block != 0 : elements % block != 0) return;
  const std::uint64_t unit = innermost ? block : 1;  // of dim_
  const std::uint64_t unit_bytes = elements * unit / type.block_elements * type.block_bytes;
  step_ = static_cast<std::int64_t>(std::max<std::uint64_t>(max_bytes_ / unit_bytes, 1) * unit);
  at_ = Dims(dim_ + 1, 0);
}

void write_file(mmap::ScratchFile& into, const format::FilePlan& file, std::span<const SaveItem> items,
                const SaveOptions& options, const Written& written) {
  into.reserve(file.size_bytes);
  for (const format::ByteSegment& segment : file.segments)
    into.write(segment.offset, std::as_bytes(std::span(segment.bytes)));
  std::vector<std::uint32_t> checksums;
  if (file.finish)
    for (const format::Payload& payload : file.payloads) checksums.push_back(payload.crc_seed);
  const std::uint64_t batch_bytes = batch_bytes_for(file);
  // Chunks are smaller than a batch by the alignment, which leaves room for their offsets modulo it.
  write_payloads(into, Batches(SaveChunks(file, items, batch_bytes - alignment)), batch_bytes, options, checksums,
                 written);
  if (!file.finish) return;
  for (const format::ByteSegment& segment : file.finish(checksums))
    into.write(segment.offset, std::as_bytes(std::span(segment.bytes)));
}

}  // namespace heft::writer
