// save/payloads.hpp: writing of tensors' bytes into a file, in bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "format/file_plan.hpp"
#include "heft/save.hpp"
#include "mmap/scratch_file.hpp"

namespace heft::writer {

/// A part of a tensor that is contiguous in the file.
struct SaveChunk {
  TensorView view;
  DType dtype = DType::unknown;
  std::uint64_t offset = 0;   ///< In the file.
  std::uint64_t size = 0;     ///< Bytes as written.
  std::uint32_t payload = 0;  ///< Position among the payloads of the file plan.
};

/// Cuts payloads, in their order, into chunks of at most `max_bytes` each. A chunk is a range of one dim, chosen so
/// that its bytes are contiguous in the file. A tensor whose rows do not end on whole bytes or blocks (an odd number of
/// 4-bit elements) stays whole. A payload of 0 bytes has no chunk.
class SaveChunks {
 public:
  SaveChunks(const format::FilePlan& file, std::span<const SaveItem> items, std::uint64_t max_bytes) noexcept
      : file_(file), items_(items), max_bytes_(max_bytes) {}

  /// Returns the next chunk in `into`; false after the last.
  bool next(SaveChunk& into);

 private:
  void enter(const format::Payload& payload);
  TensorView cut(TensorView view);

  const format::FilePlan& file_;
  std::span<const SaveItem> items_;
  std::uint64_t max_bytes_;
  std::size_t payload_ = 0;  // being cut
  bool entered_ = false;
  std::uint64_t offset_ = 0;  // in the file, of the next chunk
  std::size_t dim_ = 0;       // the dim cut into ranges; each dim before it is cut to one index
  std::int64_t step_ = 0;     // indexes of dim_ per chunk; 0: the tensor is one chunk
  Dims at_;                   // index of the next chunk's first element, for dims up to dim_
};

/// Is called on the calling thread with the bytes written since the last call.
using Written = std::function<void(std::uint64_t bytes)>;

/// Writes all of `file`: texts, payloads, and the texts that its finish() returns. A batch is read and converted while
/// the one before is being written. `items` are those from which the specs of the file plan were made. Throws
/// Error{cancelled}, and as materialize() and ScratchFile.
void write_file(mmap::ScratchFile& into, const format::FilePlan& file, std::span<const SaveItem> items,
                const SaveOptions& options, const Written& written);

}  // namespace heft::writer
