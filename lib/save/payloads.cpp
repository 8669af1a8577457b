#include "save/payloads.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "format/archive/inflate.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/memory/memory_left.hpp"
#include "save/pieces.hpp"

namespace heft::writer {
namespace {

// Large enough for long reads and writes, small enough that those in flight, and staging, are little memory.
constexpr std::uint64_t usual_piece_bytes = 8u << 20;
// One that is being written, and some that workers fill.
constexpr std::uint64_t pieces_in_flight = 4;
constexpr std::uint64_t pieces_of_staging = 2;
// Shorter pieces are written together.
constexpr std::size_t write_bytes = 1u << 20;
constexpr std::size_t worth_a_write = 256u << 10;

// Returns the size of a piece, reduced when little memory is available. Small files skip the query.
std::uint64_t piece_bytes_for(const format::FilePlan& file) {
  if (file.size_bytes < engine::worth_asking) return usual_piece_bytes;
  return engine::modest_bytes(usual_piece_bytes, mmap::memory_available().bytes);
}

// Writes bytes that follow each other in the file, the short ones together.
class Writing {
 public:
  Writing(mmap::ScratchFile& into, const Written& written) : into_(into), written_(written) {}

  void add(std::uint64_t offset, std::span<const std::byte> bytes) {
    // A long run is written from where it is. Short ones are copied together, for a system call costs as much as
    // copying tens of kilobytes; flush() comes first, so that bytes reach the file in order.
    const bool is_long = bytes.size() >= worth_a_write;
    if (is_long || offset != offset_ + buffer_.size() || buffer_.size() + bytes.size() > write_bytes) flush();
    if (is_long) return write(offset, bytes);
    if (buffer_.empty()) {
      buffer_.reserve(write_bytes);
      offset_ = offset;
    }
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }

  void flush() {
    if (!buffer_.empty()) write(offset_, buffer_);
    buffer_.clear();
  }

 private:
  void write(std::uint64_t offset, std::span<const std::byte> bytes) {
    into_.write(offset, bytes);
    written_(bytes.size());
  }

  mmap::ScratchFile& into_;
  const Written& written_;
  std::uint64_t offset_ = 0;  // in the file, of the buffer
  std::vector<std::byte> buffer_;
};

void require_not_stopped(const SaveOptions& options, const mmap::ScratchFile& file) {
  if (options.stop.stop_requested())
    throw Error(ErrorCode::cancelled, "a stop was requested while the file was being written", {.path = file.path()});
}

// `checksums` has the seed of each payload; empty: the format has none.
void write_payloads(mmap::ScratchFile& into, const format::FilePlan& file, std::span<const SaveItem> items,
                    const SaveOptions& options, std::vector<std::uint32_t>& checksums, const Written& written) {
  const std::uint64_t piece_bytes = piece_bytes_for(file);
  Limits limits = options.limits;
  limits.repeated_bytes = UINT64_MAX;  // counted before, over all files
  // Bounds the memory of the save: tensors of any size are loaded, converted and written in pieces.
  Pieces pieces(limits);
  std::vector<std::size_t> payloads;  // of each tensor of `pieces`
  for (std::size_t i = 0; i < file.payloads.size(); ++i) {
    // Nothing to read or to write: the layout of the file has its place already.
    if (file.payloads[i].size == 0) continue;
    const SaveItem& item = items[file.payloads[i].tensor];
    pieces.add(item.view, item.dtype, piece_bytes);
    payloads.push_back(i);
  }
  const MaterializeOptions load{.threads = options.threads,
                                .stop = options.stop,
                                .io_method = options.io_method,
                                .staging_bytes = pieces_of_staging * piece_bytes,
                                .workers = options.workers};
  Writing writing(into, written);
  // The notes of the load are about reading; a save reports its own.
  static_cast<void>(pieces.for_each(load, pieces_in_flight * piece_bytes, [&](const Pieces::Piece& piece) {
    // Between pieces: the load sees the stop request itself, but the last pieces may all be loaded when it comes.
    require_not_stopped(options, into);
    const std::size_t payload = payloads[piece.tensor];
    const std::span<const std::byte> bytes = piece.values.bytes();
    // A running CRC: the pieces of a tensor come in the order of their bytes.
    if (!checksums.empty()) checksums[payload] = format::crc32(bytes, checksums[payload]);
    writing.add(file.payloads[payload].offset + piece.offset, bytes);
  }));
  // The short pieces at the end are still in the buffer.
  writing.flush();
}

}  // namespace

void write_file(mmap::ScratchFile& into, const format::FilePlan& file, std::span<const SaveItem> items,
                const SaveOptions& options, const Written& written) {
  // A full disk is found before the work. The file reads as zeros, which is all that the padding between payloads
  // needs.
  into.reserve(file.size_bytes);
  for (const format::ByteSegment& segment : file.segments)
    into.write(segment.offset, std::as_bytes(std::span(segment.bytes)));
  std::vector<std::uint32_t> checksums;
  // The seeds: a checksum may cover bytes before the payload, such as a header in an archive.
  if (file.finish)
    for (const format::Payload& payload : file.payloads) checksums.push_back(payload.crc_seed);
  write_payloads(into, file, items, options, checksums, written);
  if (!file.finish) return;
  // Texts that contain checksums are written last, over the bytes that were reserved for them.
  for (const format::ByteSegment& segment : file.finish(checksums))
    into.write(segment.offset, std::as_bytes(std::span(segment.bytes)));
}

}  // namespace heft::writer
