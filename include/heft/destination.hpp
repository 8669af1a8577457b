// heft/destination.hpp: where materialized bytes live. The host arena is heft's own; a GPU or shared-memory room
// implements this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/bytes.hpp"
#include "heft/export.hpp"

namespace heft {

/// Memory for one load. The engine calls allocate() once, then fills, then calls exactly one of finish() and
/// abandon(). A destination whose allocate() or finish() throws has given the memory up itself: nothing more is
/// called. After abandon(), or after one of those two threw, nothing refers to the memory.
///
/// Two kinds. *Host-addressable* memory (heft's arena, a shared segment, pinned pages): allocate() gives the span,
/// the workers write into it, each page first touched by the worker that fills it. *Device* memory (a device):
/// allocate() gives an empty span, and write() gets finished bytes as they land. Tensors of a load into device memory
/// say where they lie there (Tensor::device_offset()).
///
/// An exception that a member throws fails the load with that exception, after all workers have stopped. Error gets
/// the path and the tensor that were being loaded, where it has none.
class HEFT_API Destination {
 public:
  virtual ~Destination() = default;

  /// Room for `size_bytes` bytes on a multiple of `alignment`: all tensors of the plan, at offsets that the engine
  /// chooses. Called once, on the thread that called materialize(), and not at all for a plan of 0 bytes. Throws
  /// Error{out_of_memory}. Fewer bytes than asked for are Error{out_of_range}, a begin that is no multiple of
  /// `alignment` Error{misaligned}; both abandon() what was given.
  virtual std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) = 0;

  /// Device memory only: bytes for [offset, offset + staged.size_bytes()), in any order, each byte of a tensor exactly
  /// once; called from several workers at once. May return before the bytes have been taken: keep `staged` until
  /// then. That is the back-pressure: a staging buffer is used again when the last copy of its Bytes goes, and the
  /// workers wait when all buffers are on loan: MaterializeOptions::staging_bytes of them, two a thread at least. A stop
  /// request, or a failure elsewhere, ends the waiting.
  ///
  /// Bytes that follow each other in the destination come together, up to a staging buffer's size: 1 MiB and a little, or what
  /// the largest single part comes to. A tensor whose rows are turned or interleaved on the way (a transpose, a
  /// concat along an inner dim) comes in as many calls as it has runs: where that is too many, transpose on the
  /// device.
  virtual void write(std::uint64_t offset, Bytes staged);

  /// Every byte has been written, or handed over; a plan of 0 bytes comes here at once. Waits for what is still under
  /// way and gives the owner of the memory, which Tensors share. Called on the thread that called materialize().
  virtual std::shared_ptr<const void> finish() = 0;

  /// The load failed or was cancelled: give the memory up. write() is not running any more.
  virtual void abandon() noexcept = 0;

 protected:
  Destination() = default;
  Destination(const Destination&) = default;
  Destination& operator=(const Destination&) = default;
};

}  // namespace heft
