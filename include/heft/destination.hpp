// heft/destination.hpp: the memory that a load fills. heft has a host arena; programs and the rooms for GPUs and shared
// memory implement this interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/bytes.hpp"
#include "heft/export.hpp"

namespace heft {

/// Memory for one load. The load calls allocate() once, then fills the memory, then calls exactly one of finish() and
/// abandon(). A destination whose allocate() or finish() throws must free the memory itself: no other member is called
/// then. After abandon(), or after one of those two threw, heft has no reference to the memory.
///
/// There are two kinds. *Host-addressable* memory (heft's arena, a shared segment, pinned pages): allocate() returns
/// the span, and the workers write into it; the worker that fills a page is the first to touch it. *Device* memory:
/// allocate() returns an empty span, and write() receives the finished bytes. Tensors of a load into device memory
/// report their place there by Tensor::device_offset().
///
/// An exception that a member throws fails the load with that exception, after all workers have stopped. An Error
/// without path and tensor gets those that were being loaded.
///
/// Example:
///   struct Heap : heft::Destination {
///     std::shared_ptr<void> memory;
///     std::span<std::byte> allocate(std::uint64_t size, std::uint64_t alignment) override {
///       const auto align = std::align_val_t(alignment);
///       memory.reset(::operator new(size, align), [align](void* block) { ::operator delete(block, align); });
///       return {static_cast<std::byte*>(memory.get()), size};
///     }
///     std::shared_ptr<const void> finish() override { return memory; }
///     void abandon() noexcept override { memory.reset(); }
///   };
///   weights = heft::materialize(plan, {.destination = std::make_shared<Heap>()});
class HEFT_API Destination {
 public:
  virtual ~Destination() = default;

  /// Allocates `size_bytes` bytes at a multiple of `alignment`, for all tensors of the plan; the load chooses their
  /// offsets. Called once, on the thread that called materialize(), and not for a plan of 0 bytes. Throws
  /// Error{out_of_memory}. A result of fewer bytes is Error{out_of_range}, one that starts at no multiple of
  /// `alignment` is Error{misaligned}; after both, abandon() is called.
  virtual std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) = 0;

  /// For device memory only: receives the bytes of [offset, offset + staged.size_bytes()), in any order, each byte of a
  /// tensor exactly once. Called from several workers at once. It may return before the bytes are copied, and keeps a
  /// copy of `staged` until they are. This is the back-pressure: a staging buffer is used again when the last copy of
  /// its Bytes is destroyed, and a worker waits while all buffers (MaterializeOptions::staging_bytes, at least two for
  /// each thread) are in use. A stop request, or a failure elsewhere, ends the wait.
  ///
  /// Adjacent bytes of the destination arrive in one call, up to the size of a staging buffer: slightly more than 1
  /// MiB, or the size of the largest part. A tensor whose rows are transposed or interleaved on the way (a transpose, a
  /// concat along an inner dim) arrives in one call for each run: where those are too many, transpose on the device.
  virtual void write(std::uint64_t offset, Bytes staged);

  /// Called after every byte was written or passed to write(); for a plan of 0 bytes, at once. Waits for copies in
  /// progress and returns the owner of the memory, which Tensors share. Called on the thread that called materialize().
  virtual std::shared_ptr<const void> finish() = 0;

  /// Frees the memory, because the load failed or was cancelled. No write() is running.
  virtual void abandon() noexcept = 0;

 protected:
  Destination() = default;
  Destination(const Destination&) = default;
  Destination& operator=(const Destination&) = default;
};

}  // namespace heft
