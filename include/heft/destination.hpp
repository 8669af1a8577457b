// heft/destination.hpp: where materialized bytes live. The host arena is heft's own; a GPU or shared-memory room implements this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/bytes.hpp"
#include "heft/export.hpp"

namespace heft {

/// Memory for one load. The engine calls allocate() once, then fills, then calls exactly one of finish() and abandon(); after abandon(), or when
/// allocate() threw, nothing refers to the memory.
///
/// Two kinds. *Host-addressable* memory (heft's arena, a shared segment, pinned pages): allocate() gives the span, the workers write into it, each
/// page first touched by the worker that fills it. *Far* memory (a device): allocate() gives an empty span, and write() gets finished bytes as they
/// land.
///
/// An exception that a member throws fails the load with that exception, after all workers have stopped.
class HEFT_API Destination {
 public:
  virtual ~Destination() = default;

  /// Room for `size_bytes` bytes on a multiple of `alignment`: all tensors of the plan, at offsets that the engine chooses. Called once, on the
  /// thread that called materialize(), and not at all for a plan of 0 bytes. Throws Error{out_of_memory}.
  virtual std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) = 0;

  /// Far memory only: bytes for [offset, offset + staged.size_bytes()), in any order, each byte of a tensor exactly once; called from several
  /// workers at once. May return before the bytes have been taken: keep `staged` until then. That is the back-pressure: a slot of the ring is
  /// used again when the last copy of its Bytes goes, and the engine waits when all slots are out.
  virtual void write(std::uint64_t offset, Bytes staged);

  /// Every byte has been written, or handed over. Waits for what is still under way and gives the owner of the memory, which Tensors share. Called
  /// on the thread that called materialize().
  virtual std::shared_ptr<const void> finish() = 0;

  /// The load failed or was cancelled: give the memory up. write() is not running any more.
  virtual void abandon() noexcept = 0;

 protected:
  Destination() = default;
  Destination(const Destination&) = default;
  Destination& operator=(const Destination&) = default;
};

}  // namespace heft
