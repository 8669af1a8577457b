// heft/tensor.hpp: a tensor in memory that heft, a destination or the caller allocated: the result of materialize().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "heft/bytes.hpp"
#include "heft/destination.hpp"
#include "heft/element.hpp"
#include "heft/shape.hpp"
#include "heft/slice.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

/// A materialized tensor: dtype, shape, and aligned bytes in the host's byte order, in memory that no file backs.
///
/// The tensors of one load share one arena, which is freed when the last Tensor, Slice and Weights of the load has been
/// destroyed. For a tensor that was loaded into the caller's buffer, the caller owns the memory and keeps it alive.
///
/// A value: copies share the memory. Const members may be called from several threads. References that the getters
/// return are valid while this Tensor lives; called on a temporary, the getters return copies. Spans into the memory
/// are deleted for a temporary: slice<T>() and owned_bytes() return an owner.
///
/// Example:
///   const heft::Tensor loaded = heft::materialize(view, heft::DType::f32);
///   const std::span<const float> values = loaded.span<float>();    // valid while `loaded` lives
///   const heft::Slice<float> kept = loaded.slice<float>();         // keeps the memory
class HEFT_API Tensor {
 public:
  /// No name, DType::unknown, rank 0, no memory.
  Tensor() noexcept = default;
  /// Used by the library. Requires that `bytes` contains the elements at `strides`; a `placement` without data becomes
  /// their address. For device memory `bytes` has no span but the owner.
  Tensor(std::string name, DType dtype, Shape shape, Strides strides, Bytes bytes, const Placement& placement = {},
         bool is_on_device = false) noexcept;

  /// Its name in the plan.
  [[nodiscard]] const std::string& name() const& noexcept { return name_; }
  [[nodiscard]] std::string name() const&& { return name_; }
  /// The dtype of the plan's entry: the view's own, unless it was converted.
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  /// Dims in elements, outermost first.
  [[nodiscard]] const Shape& shape() const& noexcept { return shape_; }
  [[nodiscard]] Shape shape() const&& { return shape_; }
  /// Steps in elements: packed row-major, or the strides that LoadPlan::add() was given for the caller's buffer.
  [[nodiscard]] const Strides& strides() const& noexcept { return strides_; }
  [[nodiscard]] Strides strides() const&& { return strides_; }
  /// Product of the dims.
  [[nodiscard]] std::uint64_t element_count() const { return shape_.element_count(); }
  /// Bytes of the tensor when it is packed row-major.
  [[nodiscard]] std::uint64_t size_bytes() const;
  /// True when the elements lie in one run, row-major. Dims of 1 can have any stride.
  [[nodiscard]] bool is_contiguous() const noexcept;
  /// The place of the first byte, as the destination gave it; for memory of heft or of the caller, its address.
  [[nodiscard]] const Placement& placement() const& noexcept { return placement_; }
  [[nodiscard]] Placement placement() const&& noexcept { return placement_; }
  /// True for a tensor in the memory of a Destination of the kind `device`: it has no bytes(), its span(), slice()
  /// and view() throw Error{unsupported}, and the owner of owned_bytes() is the result of Allocation::finish().
  [[nodiscard]] bool is_on_device() const noexcept { return is_on_device_; }

  /// The memory: packed bytes, or the caller's whole buffer when it was added with strides. Borrowed: valid while this
  /// Tensor (or a copy) lives.
  [[nodiscard]] std::span<const std::byte> bytes() const& noexcept { return bytes_.span(); }
  std::span<const std::byte> bytes() const&& = delete;
  /// The memory with its owner, which is null for the caller's buffer.
  [[nodiscard]] const Bytes& owned_bytes() const& noexcept { return bytes_; }
  [[nodiscard]] Bytes owned_bytes() const&& noexcept { return bytes_; }

  /// The elements in row-major order. Throws Error{type_mismatch} unless the dtype is T's own and the tensor
  /// contiguous; Error{misaligned} when the caller's buffer does not lie on alignof(T); Error{unsupported} for a tensor
  /// in device memory.
  template <Element T>
  [[nodiscard]] std::span<const T> span() const& {
    const std::span<const std::byte> run = typed_bytes(dtype_of<T>, alignof(T));
    return {reinterpret_cast<const T*>(run.data()), run.size() / sizeof(T)};
  }
  template <Element T>
  std::span<const T> span() const&& = delete;
  /// The same elements with their owner, and the same errors: they stay valid after this Tensor, unless the memory is
  /// the caller's.
  template <Element T>
  [[nodiscard]] Slice<T> slice() const {
    const std::span<const std::byte> run = typed_bytes(dtype_of<T>, alignof(T));
    return Slice<T>({reinterpret_cast<const T*>(run.data()), run.size() / sizeof(T)}, bytes_.owner());
  }

  /// Returns a view of this memory, for functions that take views: slicing, adapters, saving, another plan. Shares the
  /// owner. Throws Error{type_mismatch} unless contiguous, Error{unsupported} for a tensor in device memory.
  [[nodiscard]] TensorView view() const;

 private:
  void require_host() const;
  [[nodiscard]] std::span<const std::byte> typed_bytes(DType wanted, std::size_t alignment) const;

  std::string name_;
  Shape shape_;
  Strides strides_;
  Bytes bytes_;
  Placement placement_;
  DType dtype_ = DType::unknown;
  bool is_on_device_ = false;
};

}  // namespace heft
