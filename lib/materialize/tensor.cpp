#include "heft/tensor.hpp"

#include <utility>

#include <fmt/format.h>

#include "core/contiguous.hpp"
#include "heft/error.hpp"

namespace heft {

Tensor::Tensor(std::string name, DType dtype, Shape shape, Strides strides, Bytes bytes, const Placement& placement,
               bool is_on_device) noexcept
    : name_(std::move(name)),
      shape_(std::move(shape)),
      strides_(std::move(strides)),
      bytes_(std::move(bytes)),
      placement_(placement),
      dtype_(dtype),
      is_on_device_(is_on_device) {
  // A tensor made from bytes alone gets its placement from them, so that exporters find every address in one member.
  if (placement_.data == nullptr && !is_on_device) placement_.data = const_cast<std::byte*>(bytes_.data());
}

std::uint64_t Tensor::size_bytes() const {
  // Without a row for the dtype, the size of an element is unknown: the bytes are those that the file has.
  return dtype_ == DType::unknown ? bytes_.size_bytes() : bytes_for(dtype_, shape_);
}

void Tensor::require_host() const {
  if (is_on_device_)
    throw Error(ErrorCode::unsupported, "expected a tensor in this process's memory, it is in a device's",
                {.path = {}, .tensor = name_});
}

bool Tensor::is_contiguous() const noexcept { return core::is_contiguous(shape_, strides_); }

std::span<const std::byte> Tensor::typed_bytes(DType wanted, std::size_t alignment) const {
  require_host();
  const auto refuse = [&](ErrorCode code, std::string message) {
    return Error(code, std::move(message), {.path = {}, .tensor = name_});
  };
  if (dtype_ != wanted)
    throw refuse(ErrorCode::type_mismatch,
                 fmt::format("expected dtype {}, the tensor is {}", heft::name(wanted), heft::name(dtype_)));
  if (!is_contiguous())
    throw refuse(ErrorCode::type_mismatch, fmt::format("expected a contiguous tensor, shape {} has strides {}",
                                                       to_string(shape_), to_string(strides_)));
  // A buffer of the caller's may be larger than the tensor.
  const std::span<const std::byte> run = bytes_.span().first(size_bytes());
  if (reinterpret_cast<std::uintptr_t>(run.data()) % alignment != 0)
    throw refuse(ErrorCode::misaligned,
                 fmt::format("expected bytes aligned to {}, the caller's buffer is not", alignment));
  return run;
}

TensorView Tensor::view() const {
  require_host();
  if (!is_contiguous())
    throw Error(
        ErrorCode::type_mismatch,
        fmt::format("expected a contiguous tensor, shape {} has strides {}", to_string(shape_), to_string(strides_)),
        {.path = {}, .tensor = name_});
  // The subrange shares the owner: the view keeps the memory after the tensor is destroyed.
  return TensorView::over(name_, dtype_, shape_, bytes_.subrange(0, size_bytes()));
}

}  // namespace heft
