// heft/tensor.hpp: a tensor in memory of its own: what materialize() makes of a view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "heft/bytes.hpp"
#include "heft/element.hpp"
#include "heft/shape.hpp"
#include "heft/slice.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

/// A materialized tensor: dtype, shape, and aligned bytes in the host's byte order that no file backs.
///
/// It owns its memory together with the other tensors of the same load: the load's arena is freed when the last
/// Tensor (or Slice, or Weights) of it goes. For a tensor that was loaded into the caller's buffer the caller owns
/// the memory, and keeps it alive.
///
/// A value; copies share the memory. Const members may be called from several threads.
class HEFT_API Tensor {
 public:
  /// No name, DType::unknown, rank 0, no memory.
  Tensor() noexcept = default;
  /// `bytes` holds the elements at `strides`. The library makes Tensors; programs have no need to.
  /// For device memory `bytes` has no span but the owner.
  Tensor(std::string name, DType dtype, Shape shape, Strides strides, Bytes bytes, std::optional<std::uint64_t> device_offset = {}) noexcept;

  /// Its name in the plan. Borrowed, as what follows: valid while this Tensor lives.
  [[nodiscard]] const std::string& name() const& noexcept { return name_; }
  const std::string& name() const&& = delete;
  /// What the plan asked for; the view's own unless converted.
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  /// In elements, outermost first.
  [[nodiscard]] const Shape& shape() const& noexcept { return shape_; }
  const Shape& shape() const&& = delete;
  /// Steps in elements: packed row-major, unless the plan gave the caller's buffer other strides.
  [[nodiscard]] const Strides& strides() const& noexcept { return strides_; }
  const Strides& strides() const&& = delete;
  /// Product of the dims.
  [[nodiscard]] std::uint64_t element_count() const { return shape_.element_count(); }
  /// Bytes of the tensor packed row-major.
  [[nodiscard]] std::uint64_t size_bytes() const;
  /// True when the elements lie in one run, row-major: dims of 1 may have any stride.
  [[nodiscard]] bool is_contiguous() const noexcept;
  /// Where the tensor begins, in bytes, in the memory of a device's Destination; nothing for tensors in memory that this
  /// process reads. A tensor in device memory has no bytes(), and as(), slice() and view() throw Error{unsupported}; the owner of
  /// owned_bytes() is what Destination::finish() gave.
  [[nodiscard]] std::optional<std::uint64_t> device_offset() const noexcept { return device_offset_; }

  /// The memory: packed bytes, or the caller's whole buffer when it has strides of its own. Borrowed: valid while
  /// this Tensor (or a copy) lives.
  [[nodiscard]] std::span<const std::byte> bytes() const& noexcept { return bytes_.span(); }
  std::span<const std::byte> bytes() const&& = delete;
  /// The memory with its owner.
  [[nodiscard]] const Bytes& owned_bytes() const& noexcept { return bytes_; }

  /// Elements in row-major order. Throws Error{type_mismatch} unless the dtype is T's own and the tensor contiguous;
  /// Error{misaligned} when the caller's buffer does not lie on alignof(T); Error{unsupported} for a tensor in device memory.
  template <Element T>
  [[nodiscard]] std::span<const T> as() const& {
    const std::span<const std::byte> run = typed_bytes(dtype_of<T>, alignof(T));
    return {reinterpret_cast<const T*>(run.data()), run.size() / sizeof(T)};
  }
  template <Element T>
  std::span<const T> as() const&& = delete;
  /// The same with the owner, and the same errors: outlives this Tensor, unless the memory is the caller's.
  template <Element T>
  [[nodiscard]] Slice<T> slice() const {
    const std::span<const std::byte> run = typed_bytes(dtype_of<T>, alignof(T));
    return Slice<T>({reinterpret_cast<const T*>(run.data()), run.size() / sizeof(T)}, bytes_.owner());
  }

  /// A view of this memory, for what works on views: slicing, adapters, saving, another plan. Shares the owner.
  /// Throws Error{type_mismatch} unless contiguous, Error{unsupported} for a tensor in device memory.
  [[nodiscard]] TensorView view() const;

 private:
  void require_near() const;
  [[nodiscard]] std::span<const std::byte> typed_bytes(DType wanted, std::size_t alignment) const;

  std::string name_;
  Shape shape_;
  Strides strides_;
  Bytes bytes_;
  std::optional<std::uint64_t> device_offset_;
  DType dtype_ = DType::unknown;
};

}  // namespace heft
