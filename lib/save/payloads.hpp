// save/payloads.hpp: the tensors' bytes on their way into a file, in bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "format/file_plan.hpp"
#include "heft/save.hpp"
#include "mmap/scratch_file.hpp"

namespace heft::engine {

/// A part of a tensor that is written in one go.
struct SaveChunk {
  TensorView view;
  DType dtype = DType::unknown;
  std::uint64_t offset = 0;   ///< In the file.
  std::uint64_t size = 0;     ///< Bytes as written.
  std::uint32_t payload = 0;  ///< Position among the blueprint's payloads.
};

/// Cuts payloads, in their order, into chunks of at most `most_bytes` each: ranges of one dim, chosen so that the bytes of a chunk follow each other in
/// the file. A tensor whose rows do not fall on bytes (an odd number of 4-bit elements) stays whole. A payload of 0 bytes has no chunk.
class SaveChunks {
 public:
  SaveChunks(const format::Blueprint& file, std::span<const SaveItem> items, std::uint64_t most_bytes) noexcept
      : file_(file), items_(items), most_bytes_(most_bytes) {}

  /// False after the last.
  bool next(SaveChunk& into);

 private:
  void enter(const format::Payload& payload);
  TensorView cut(TensorView view);

  const format::Blueprint& file_;
  std::span<const SaveItem> items_;
  std::uint64_t most_bytes_;
  std::size_t payload_ = 0;  // being cut
  bool entered_ = false;
  std::uint64_t offset_ = 0;  // in the file, of the next chunk
  std::size_t dim_ = 0;       // that is cut in ranges; each dim before it is cut to one index
  std::int64_t step_ = 0;     // indexes of dim_ in a chunk; 0: the tensor is one chunk
  Dims at_;                   // index of the next chunk's first element, for dims up to dim_
};

/// Called on the calling thread with bytes that have been written since the last call.
using Written = std::function<void(std::uint64_t bytes)>;

/// Writes `file` whole: texts, payloads, and what its finish() adds. Reads and conversions of one batch go on while the one before is being written.
/// `items` are those the blueprint's declarations were made of. Throws Error{cancelled} and what materialize() and ScratchFile throw.
void write_file(mmap::ScratchFile& into, const format::Blueprint& file, std::span<const SaveItem> items, const SaveOptions& options, const Written& written);

}  // namespace heft::engine
