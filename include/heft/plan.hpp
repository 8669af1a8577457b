// heft/plan.hpp: a plan of a load: the views, their destinations and their dtypes. A value; it does no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/destination.hpp"
#include "heft/export.hpp"
#include "heft/index_iterator.hpp"
#include "heft/limits.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

struct MaterializeOptions;
namespace engine {
struct PlanEntry;
struct PlanAccess;
}  // namespace engine

/// The bytes that a load reads, writes and holds, known before it starts. A value, from LoadPlan::estimate().
struct LoadEstimate {
  /// Source bytes that the load will fetch, exactly: what several entries read is counted once, gaps small enough to be
  /// read over are counted, alignment that O_DIRECT adds is not. Equals LoadStats::bytes_read of a completed load.
  std::uint64_t bytes_read = 0;
  /// Destination bytes that the load will fill, exactly. Equals LoadStats::bytes_written.
  std::uint64_t bytes_written = 0;
  /// Host memory that the load holds at most at once, exactly: tensors, unless MaterializeOptions::destination or the
  /// caller gives their memory; staging and windows of the threads that a load of this size uses; its own tables. The
  /// page cache is not counted. Equals LoadStats::host_bytes; the load's resident memory stays under it.
  std::uint64_t host_bytes = 0;
  /// Bytes that MaterializeOptions::destination is asked for: Destination::bytes_for(); 0 without one. Equals
  /// LoadStats::device_bytes.
  std::uint64_t device_bytes = 0;
};

/// A list of named tensors to load, each from one view or from several, each with its dtype and its place in memory.
///
/// Requests that heft cannot execute fail here, before a byte moves: an unknown conversion is Error{unsupported} from
/// add(), not from the load. The conversions, all explicit:
///   - f64, f32, f16, bf16 and the f8 types among each other (element.hpp states rounding and overflow);
///   - c32, c64, c128 among each other;
///   - booleans and integers to integers that hold every value (u8 to i16, not u8 to i8; a true boolean is 1);
///   - ggml's blocks to f32, f16, bf16, f64: dequantized;
///   - every dtype to itself: packed, in the host's byte order, with PyTorch's lazy conj and neg bits applied.
/// None goes between real, integer and complex.
///
/// A value: copies are deep, but their views share what they view. Const members may be called from several threads;
/// members that add may not.
///
/// Example:
///   heft::LoadPlan part;
///   for (const heft::TensorView& t : checkpoint.tensors("*_proj.weight")) part.add(t.shard(0, 3, 8));
///   for (const heft::TensorSpec& t : part) std::cout << t.name << ' ' << t.size_bytes << '\n';
class HEFT_API LoadPlan {
  [[nodiscard]] TensorSpec spec(std::size_t position) const;  // of operator[] and of the iterators

 public:
  /// No tensors, default limits.
  LoadPlan();
  /// No tensors. Of `limits` a plan uses repeated_bytes only.
  explicit LoadPlan(const Limits& limits);
  LoadPlan(const LoadPlan& other);
  LoadPlan(LoadPlan&& other) noexcept;
  LoadPlan& operator=(LoadPlan other) noexcept;
  ~LoadPlan();

  /// Adds one view under its name: packed row-major as its wanted_dtype() (its own dtype unless an adapter set
  /// another), in memory that the load allocates. All forms throw Error{ambiguous} when the plan already has that name,
  /// Error{unsupported} for a conversion that heft does not implement or a view without data (a meta tensor),
  /// Error{limit_exceeded} when the plan's tensors together repeat storage to more than Limits::repeated_bytes: a file
  /// of a kilobyte can declare terabytes that way. Tensors with a buffer of the caller are not counted.
  void add(TensorView view);
  /// Adds one view, converted to `dtype`.
  void add(TensorView view, DType dtype);
  /// Adds one view, to be written into the caller's buffer: packed row-major, or with element (i, j, ...) at i *
  /// strides[0] + j * strides[1] + ... elements from the start of the buffer. The caller keeps the buffer alive, and
  /// neither reads nor writes it, until the load has ended. Throws Error{out_of_range} when the tensor does not fit,
  /// when a stride is negative, or when strides make elements overlap.
  ///
  /// Example:
  ///   std::vector<float> buffer(view.element_count());
  ///   plan.add(view, heft::DType::f32, std::as_writable_bytes(std::span(buffer)));
  ///   weights = heft::materialize(plan);      // the buffer is filled when it returns
  void add(TensorView view, DType dtype, std::span<std::byte> into);
  void add(TensorView view, DType dtype, std::span<std::byte> into, const Strides& strides);

  /// Number of tensors. They are numbered in the order in which they were added.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// Returns tensor number `position` as it will be loaded: name, shape, dtype, size in bytes. Its alignment is 1 and
  /// its offset in a page nothing, because the options of a load choose them. Borrowed: valid until the plan is changed
  /// or destroyed, and deleted for a temporary. Constant time; allocates nothing. Throws Error{out_of_range} unless
  /// position < size().
  [[nodiscard]] TensorSpec operator[](std::size_t position) const& { return spec(position); }
  TensorSpec operator[](std::size_t position) const&& = delete;
  /// An input iterator over the tensors, which it returns by value. Valid until the plan is changed or destroyed.
  using iterator = IndexIterator<LoadPlan, TensorSpec, &LoadPlan::spec>;
  /// The tensors in the order in which they were added, as operator[] returns them. Deleted for a temporary,
  /// which a loop keeps alive.
  [[nodiscard]] iterator begin() const& noexcept { return {*this, 0}; }
  [[nodiscard]] iterator end() const& noexcept { return {*this, size()}; }
  iterator begin() const&& = delete;
  iterator end() const&& = delete;

  /// Returns the bytes that a load of this plan with these options reads, writes and holds. The first call compiles the
  /// plan; later calls and the load use the result until a tensor is added. Throws Error{out_of_range} for invalid
  /// options, Error{out_of_memory} for a plan above the address space.
  [[nodiscard]] LoadEstimate estimate() const;
  [[nodiscard]] LoadEstimate estimate(const MaterializeOptions& options) const;

 private:
  friend struct engine::PlanAccess;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heft
