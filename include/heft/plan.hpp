// heft/plan.hpp: which views go where, as which dtype. A value; it does no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heft/export.hpp"
#include "heft/limits.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

struct MaterializeOptions;
namespace engine {
struct PlanEntry;
struct PlanAccess;
}

/// What a load takes, known before it starts.
struct LoadEstimate {
  /// Source bytes that the load will fetch, exactly: what several entries read is counted once, gaps small enough to be
  /// read over are counted, alignment that O_DIRECT adds is not. Equals LoadStats::bytes_read of a completed load.
  std::uint64_t bytes_read = 0;
  /// Destination bytes that the load will fill, exactly. Equals LoadStats::bytes_written.
  std::uint64_t bytes_written = 0;
  /// Host memory that the load holds at most at once: tensors, unless MaterializeOptions::destination or the caller
  /// gives their memory; staging and windows of the threads that a load of this size uses; its own tables. The page
  /// cache is not counted. The load's resident memory stays under it.
  std::uint64_t host_bytes = 0;
  /// Bytes that MaterializeOptions::destination is asked for; 0 without one.
  std::uint64_t device_bytes = 0;
};

/// What a load will do: a list of named tensors to be, each from one view or from several, each with its dtype and place.
///
/// Every refusal is made here, before a byte moves: a conversion that heft does not do is Error{unsupported} from add(), not from the load.
/// Conversions, all explicit:
///   - f64, f32, f16, bf16 and the f8 kinds among each other (rounding and overflow as element.hpp says), c32, c64, c128 among each other;
///   - booleans and integers to integers that hold every value (u8 to i16, not u8 to i8; a true boolean is 1);
///   - ggml blocks to f32, f16, bf16, f64: dequantized;
///   - a dtype to itself, always: packed, in the host's byte order, with PyTorch's lazy conj and neg bits applied.
///   Never between real, integer and complex.
///
/// A value: copies are deep but views share what they view. Const members may be called from several threads; those that add may not.
class HEFT_API LoadPlan {
 public:
  LoadPlan();
  /// With a limit of its own: Limits::repeated_bytes, the only member that a plan uses.
  explicit LoadPlan(const Limits& limits);
  LoadPlan(const LoadPlan& other);
  LoadPlan(LoadPlan&& other) noexcept;
  LoadPlan& operator=(LoadPlan other) noexcept;
  ~LoadPlan();

  /// One view as it is: packed row-major under its name, as its wanted_dtype() (its own unless an adapter said otherwise), in memory that the load allocates.
  /// All forms throw Error{ambiguous} when the plan already has that name, Error{unsupported} for a conversion that heft does not do or a view
  /// without data (a meta tensor), Error{limit_exceeded} when the plan's tensors together repeat storage to more than Limits::repeated_bytes: a
  /// file of a kilobyte can declare terabytes so. The forms with a buffer are not counted.
  void add(TensorView view);
  /// Converted to `dtype`.
  void add(TensorView view, DType dtype);
  /// Into the caller's buffer, packed row-major, or with element (i, j, ...) at i * strides[0] + j * strides[1] + ... elements from its begin.
  /// The buffer must live, and nobody may read it, until the load has ended. Throws Error{out_of_range} when the tensor does not fit,
  /// when a stride is negative, or when strides make elements overlap.
  void add(TensorView view, DType dtype, std::span<std::byte> into);
  void add(TensorView view, DType dtype, std::span<std::byte> into, const Strides& strides);

  /// Several views one after the other along `dim`, as one tensor: fused q/k/v, gate and up. All other dims must be equal, and so must dtypes
  /// unless one is given. Throws Error{out_of_range} for shapes that do not fit or no views, Error{type_mismatch} for dtypes that differ.
  void concat(std::string name, std::span<const TensorView> views, std::size_t dim);
  void concat(std::string name, std::span<const TensorView> views, std::size_t dim, DType dtype);
  /// Several views of one shape as one tensor with a new dim at `dim`: experts. Throws as concat().
  void stack(std::string name, std::span<const TensorView> views, std::size_t dim);
  void stack(std::string name, std::span<const TensorView> views, std::size_t dim, DType dtype);

  /// Tensors to be, in the order they were added.
  [[nodiscard]] std::size_t count() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return count() == 0; }
  /// Of tensor number `position` < count(). Throw Error{out_of_range}. Borrowed: valid until the plan is changed or dies.
  [[nodiscard]] std::string_view name(std::size_t position) const&;
  std::string_view name(std::size_t position) const&& = delete;
  [[nodiscard]] const Shape& shape(std::size_t position) const&;
  const Shape& shape(std::size_t position) const&& = delete;
  [[nodiscard]] DType dtype(std::size_t position) const;

  /// What a load of this plan with these options takes. The plan is compiled on the first call; further ones, and the
  /// load itself, use what the first one made, until something is added. Throws Error{out_of_range} for options that
  /// make no sense, Error{out_of_memory} for a plan that no machine can hold.
  [[nodiscard]] LoadEstimate estimate() const;
  [[nodiscard]] LoadEstimate estimate(const MaterializeOptions& options) const;

 private:
  friend struct engine::PlanAccess;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heft
