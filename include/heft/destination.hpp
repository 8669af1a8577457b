// heft/destination.hpp: the memory that a load fills: heft's own host arena, or that of a program or a room for devices
// and shared memory, which implement this interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "heft/completion.hpp"
#include "heft/dtype.hpp"
#include "heft/export.hpp"

namespace heft {

/// The place of a tensor's first byte, in the four facts of DLPack. For memory of this process, `data` + `byte_offset`
/// is its address. For a device, `data` is the address or the handle that the device's library uses.
///
/// Example:
///   const heft::Placement place = tensor.placement();
///   std::cout << "device " << place.device_type << ':' << place.device_id << ", byte " << place.byte_offset << '\n';
struct Placement {
  std::int32_t device_type = 1;  ///< DLDeviceType: 1 is the host (kDLCPU), 2 is CUDA, 4 is OpenCL, ...
  std::int32_t device_id = 0;    ///< The number of the device among those of its type.
  void* data = nullptr;
  std::uint64_t byte_offset = 0;
};

/// A tensor as a load will make it: of LoadPlan::operator[], and what a Destination gives memory. It refers to the
/// plan: valid until the plan is changed or destroyed; in a call of a Destination, until the call returns.
struct TensorSpec {
  std::string_view name = {};                ///< Its name in the plan.
  std::span<const std::int64_t> shape = {};  ///< Dims in elements, outermost first.
  DType dtype = DType::unknown;
  std::uint64_t size_bytes = 0;  ///< Packed row-major; 0 for a tensor without elements.
  /// A power of two, of which the tensor's place must be a multiple: the larger one of MaterializeOptions::alignment
  /// and Requirements::alignment.
  std::uint64_t alignment = 1;
  /// The offset in a page at which the tensor's bytes start in their file; nothing when they are converted, or short.
  /// A preference: direct reads go to host memory without a copy if the tensor starts at the same offset in a page.
  std::optional<std::uint32_t> offset_in_page = {};
};

/// Bytes for a device to copy.
struct WriteRequest {
  /// The place of the first byte: a tensor's Placement with a larger byte_offset.
  Placement to = {};
  /// The bytes, in staging memory. Valid and unchanged until the request is reported.
  std::span<const std::byte> staged = {};
  /// Number of rows that `staged` consists of, one after the other; row i starts `i * pitch_bytes` after `to`. 1, with
  /// a pitch of 0, unless Requirements::strided_writes.
  std::uint64_t rows = 1;
  std::uint64_t pitch_bytes = 0;
};

/// Host memory for staging. Destroying the last copy of the owner unpins and frees it.
struct StagingMemory {
  std::span<std::byte> bytes = {};
  std::shared_ptr<void> owner = {};
};

/// The memory of one load, from Destination::allocate(). When the load fails or is cancelled, it is destroyed without a
/// call of finish(), and must free the memory.
///
/// Threads: write_async() is called from any worker, from several at once. All other members, and the destructor, are
/// called on the thread that called materialize(), when no write is in progress.
class HEFT_API Allocation {
 public:
  virtual ~Allocation() = default;

  /// The places of the tensors, in the order in which allocate() was given them. They do not change, and are valid
  /// until the destruction.
  [[nodiscard]] virtual std::span<const Placement> placements() const noexcept = 0;

  /// Starts to copy staged bytes to a device, and reports when they are copied. Called for destinations of the kind
  /// `device` only, in any order, with each byte of a tensor once. It should not wait: a staging buffer is free again
  /// when its last write has been reported, and while no buffer is free, nothing is read. That is the back-pressure.
  ///
  /// A call that throws has failed its request, and the load with that exception; the report of its completion does not
  /// count then. The load waits for all reports, also after a failure or a stop request.
  ///
  /// Adjacent bytes of the destination arrive in one call, up to Requirements::max_write_bytes and to a staging buffer:
  /// 1 to 4 MiB, half of a thread's share of MaterializeOptions::staging_bytes, or the largest part. Between tensors
  /// with the same `data`, gaps that are shorter than Requirements::alignment may be written too, with bytes of 0. The
  /// default throws Error{unsupported}.
  virtual void write_async(const WriteRequest& request, Completion completion);

  /// Called once, after each byte has been written and reported. Returns the owner of the memory, which the tensors
  /// share; this object is destroyed then. When it throws, the load fails with that exception.
  [[nodiscard]] virtual std::shared_ptr<const void> finish() = 0;

 protected:
  Allocation() = default;
  Allocation(const Allocation&) = default;
  Allocation& operator=(const Allocation&) = default;
};

/// Allocates memory for loads. A factory: several loads may use one at once, so that const members must be safe to call
/// from several threads. A load calls, on the thread that called materialize(): requirements() and bytes_for() before
/// it plans, then staging() if the kind is `device`, then allocate(), all before the first byte is read. For a plan
/// whose tensors all have buffers of the caller, it calls requirements() only.
///
/// An exception that a member throws fails the load with that exception. An Error without path and tensor gets those
/// that were being loaded.
///
/// Example:
///   struct Block : heft::Allocation {
///     explicit Block(std::span<const heft::TensorSpec> tensors) {
///       for (const heft::TensorSpec& tensor : tensors) {
///         const auto align = std::align_val_t(tensor.alignment);
///         blocks->emplace_back(::operator new(tensor.size_bytes, align),
///                              [align](void* p) { ::operator delete(p, align); });
///         places.push_back({.data = blocks->back().get()});
///       }
///     }
///     std::span<const heft::Placement> placements() const noexcept override { return places; }
///     std::shared_ptr<const void> finish() override { return blocks; }
///     using Blocks = std::vector<std::shared_ptr<void>>;
///     std::shared_ptr<Blocks> blocks = std::make_shared<Blocks>();
///     std::vector<heft::Placement> places;
///   };
///   struct Heap : heft::Destination {
///     Requirements requirements() const noexcept override { return {.kind = Kind::host_writable}; }
///     std::uint64_t bytes_for(std::span<const heft::TensorSpec> tensors) const override {
///       std::uint64_t sum = 0;
///       for (const heft::TensorSpec& tensor : tensors) sum += tensor.size_bytes;
///       return sum;
///     }
///     std::unique_ptr<heft::Allocation> allocate(std::span<const heft::TensorSpec> tensors) const override {
///       return std::make_unique<Block>(tensors);
///     }
///   };
///   weights = heft::materialize(plan, {.destination = std::make_shared<Heap>()});
class HEFT_API Destination {
 public:
  /// How bytes reach the memory.
  enum class Kind : std::uint8_t {
    host_writable,  ///< The workers write to it: heft's arena, a shared segment, pinned pages.
    device,         ///< Allocation::write_async() writes to it, out of staging memory.
  };

  /// The properties of a destination. They do not change.
  struct Requirements {
    Kind kind = Kind::host_writable;
    /// Places are multiples of it: a power of two, else Error{out_of_range}.
    std::uint64_t alignment = 64;
    /// The max size of WriteRequest::staged; at least 1, else Error{out_of_range}.
    std::uint64_t max_write_bytes = std::numeric_limits<std::uint64_t>::max();
    /// A WriteRequest may have several rows: tensors that are transposed or interleaved on the way take one request for
    /// many runs, not one for each.
    bool strided_writes = false;
  };

  virtual ~Destination() = default;

  [[nodiscard]] virtual Requirements requirements() const noexcept = 0;

  /// Returns the bytes that allocate() takes for these tensors, rounding included: LoadEstimate::device_bytes. heft
  /// calls it once for a plan and options, and uses the result for later estimates.
  [[nodiscard]] virtual std::uint64_t bytes_for(std::span<const TensorSpec> tensors) const = 0;

  /// Returns at least `size_bytes` bytes of host memory, at a multiple of the size of a page, in which bytes wait for a
  /// device: pinned, or registered. They are freed after the last write has been reported, on the thread that called
  /// materialize(). Less is Error{out_of_memory}, another address Error{misaligned}. The default allocates an arena as
  /// heft has them.
  [[nodiscard]] virtual StagingMemory staging(std::uint64_t size_bytes) const;

  /// Allocates memory for the tensors of one load, without those that have a buffer of the caller. Throws
  /// Error{out_of_memory}. The load fails with Error{out_of_memory} too if there is not one place for each tensor, if
  /// host memory has no address, or if two tensors overlap; with Error{misaligned} if a tensor is not at a multiple of
  /// TensorSpec::alignment (for a device: its byte_offset). Nothing has been read then, and the Allocation is
  /// destroyed.
  [[nodiscard]] virtual std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const = 0;

 protected:
  Destination() = default;
  Destination(const Destination&) = default;
  Destination& operator=(const Destination&) = default;
};

}  // namespace heft
