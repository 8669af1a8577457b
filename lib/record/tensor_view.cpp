#include "heft/tensor_view.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/contiguous.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/pieces.hpp"
#include "record/view_access.hpp"

namespace heft {
namespace {

using record::fail;

// Throws Error{type_mismatch} unless the elements have the dtype `wanted`.
void require_values(const TensorView& view, DType wanted) {
  if (view.dtype() != wanted)
    fail(view, ErrorCode::type_mismatch,
         fmt::format("expected dtype {}, the tensor is {}", name(wanted), core::escaped(view.dtype_name())));
}

// Throws Error{type_mismatch} if the bytes of the file are not the values: then no span over them can be returned.
void require_plain_bytes(const TensorView& view) {
  if (view.is_swapped())
    fail(view, ErrorCode::type_mismatch,
         "expected the host's byte order, the tensor is big-endian: materialize() swaps");
  if (view.is_conjugated() || view.is_negated())
    fail(view, ErrorCode::type_mismatch,
         "expected plain values, the tensor is a lazy conjugate or negative: materialize() applies it");
}

// Reverses each scalar part of an element of `size` bytes.
void swap_parts(std::byte* element, std::size_t size, std::size_t part) {
  for (std::size_t at = 0; at < size; at += part) std::reverse(element + at, element + at + part);
}

// Flips the sign bit of the number of `size` bytes that lies little-endian at `number`.
void flip_sign(std::byte* number, std::size_t size) { number[size - 1] ^= std::byte{0x80}; }

// PyTorch sets these bits on real and complex tensors only.
void apply_lazy_bits(const TensorView& view, std::byte* element) {
  const DTypeInfo& type = info(view.dtype());
  const std::size_t part = type.swap_bytes;
  // A complex number is its real part, then the imaginary one, whose sign a conjugate has exchanged.
  if (view.is_conjugated() && type.category == DTypeCategory::complex) flip_sign(element + part, part);
  if (!view.is_negated()) return;
  for (std::size_t at = 0; at < type.block_bytes; at += part) flip_sign(element + at, part);
}

}  // namespace

TensorView::TensorView() noexcept = default;

TensorView TensorView::over(std::string name, DType dtype, Shape shape, Bytes bytes) {
  // The product is checked here, so that arithmetic on the view's offsets cannot overflow.
  if (const std::uint64_t expected = bytes_for(dtype, shape); bytes.size_bytes() != expected)
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected {} bytes for {} {}, found {}", expected, heft::name(dtype), to_string(shape),
                            bytes.size_bytes()),
                {.tensor = name});
  TensorView view;
  view.size_ = bytes.size_bytes();
  view.source_ = record::memory_source(std::move(bytes));
  view.strides_ = Strides::contiguous(shape);
  view.shape_ = std::move(shape);
  view.dtype_ = dtype;
  return view.renamed(std::move(name));
}

TensorView ViewAccess::make(Parts parts) {
  TensorView view;
  view.source_ = std::move(parts.source);
  view.name_ = parts.name;
  view.type_name_ = parts.type_name;
  view.begin_ = parts.begin;
  view.size_ = parts.size;
  view.first_ = parts.first;
  view.shape_ = Shape(parts.sizes);
  view.strides_ = parts.strides.empty() ? Strides::contiguous(view.shape_) : Strides(parts.strides);
  view.dtype_ = parts.dtype;
  view.flags_ = parts.flags;
  return view;
}

TensorView TensorView::renamed(std::string name) const {
  TensorView view = *this;
  auto owner = std::make_shared<const std::string>(std::move(name));
  ViewAccess::set_name(view, *owner, owner);
  return view;
}

TensorView TensorView::cast_on_load(DType dtype) const {
  TensorView view = *this;
  view.wanted_ = dtype;
  return view;
}

std::string_view TensorView::dtype_name() const& noexcept {
  // The file's own word for a dtype that heft does not have.
  return dtype_ == DType::unknown && !type_name_.empty() ? type_name_ : heft::name(dtype_);
}

std::uint64_t TensorView::element_count() const { return shape_.element_count(); }

std::uint64_t TensorView::size_bytes() const { return dtype_ == DType::unknown ? size_ : bytes_for(dtype_, shape_); }

bool TensorView::is_contiguous() const noexcept { return !pieces_ && core::is_contiguous(shape_, strides_); }

std::span<const Piece> TensorView::pieces() const& noexcept { return ViewAccess::pieces(*this); }

std::vector<Piece> TensorView::pieces() const&& {
  const std::span<const Piece> borrowed = ViewAccess::pieces(*this);
  return {borrowed.begin(), borrowed.end()};
}

std::string_view TensorView::shard_path() const& noexcept {
  // A view of pieces has no file of its own; the first piece stands for all.
  if (pieces_ && !pieces_->empty()) return pieces_->front().part.shard_path();
  return source_ ? source_->path() : std::string_view();
}

std::uint64_t TensorView::offset() const noexcept {
  return pieces_ && !pieces_->empty() ? pieces_->front().part.offset() : ViewAccess::first_byte(*this);
}

bool TensorView::shares_storage_with(const TensorView& other) const noexcept {
  if (pieces_ || other.pieces_)
    return pieces_ && other.pieces_ && record::pieces_share_storage(*pieces_, *other.pieces_);
  if (!source_ || !other.source_ || size_ == 0 || size_ != other.size_) return false;
  // Storages, not elements: slices of one tensor share theirs.
  if (source_ == other.source_) return begin_ == other.begin_;
  // Two views of the same memory of the caller have different sources.
  const auto here = source_->mapped();
  const auto there = other.source_->mapped();
  return !here.empty() && !there.empty() && here.data() + begin_ == there.data() + other.begin_;
}

Bytes TensorView::bytes() const {
  if (!has_data()) fail(*this, ErrorCode::type_mismatch, "expected bytes, the tensor is a meta tensor and has none");
  if (pieces_)
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("expected one run of bytes, the tensor lies in {} pieces", pieces_->size()));
  // Before is_contiguous(): spelled numbers have contiguous strides, but no packed bytes.
  if (is_spelled())
    fail(*this, ErrorCode::type_mismatch,
         "expected packed bytes, the file spells the elements as a list of numbers: materialize() gathers");
  if (!is_contiguous())
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("expected a contiguous tensor, shape {} has strides {}", to_string(shape_), to_string(strides_)));
  const std::uint64_t size = size_bytes();
  return size == 0 ? Bytes() : source_->bytes(ViewAccess::first_byte(*this), size);
}

Bytes TensorView::typed_bytes(DType wanted, std::size_t alignment) const {
  require_values(*this, wanted);
  require_plain_bytes(*this);
  Bytes run = bytes();
  // safetensors does not align its payload, so a valid file can fail here.
  if (reinterpret_cast<std::uintptr_t>(run.data()) % alignment != 0)
    fail(*this, ErrorCode::misaligned,
         fmt::format("expected bytes aligned to {}, the payload lies at byte {} of its file: materialize() aligns",
                     alignment, offset()));
  return run;
}

void TensorView::read_element(DType wanted, std::span<const std::int64_t> index, void* into) const {
  require_values(*this, wanted);
  if (index.size() != rank())
    fail(*this, ErrorCode::out_of_range,
         fmt::format("expected {} indices for shape {}, found {}", rank(), to_string(shape_), index.size()));
  std::uint64_t at = first_;
  for (std::size_t dim = 0; dim < rank(); ++dim) {
    if (index[dim] < 0 || index[dim] >= shape_[dim])
      fail(*this, ErrorCode::out_of_range,
           fmt::format("index {} is outside dim {} of shape {}", index[dim], dim, to_string(shape_)));
    // Stays inside the storage: formats and slices have checked the farthest element.
    at += static_cast<std::uint64_t>(index[dim] * strides_[dim]);
  }
  if (pieces_)
    return record::read_from_pieces(*pieces_, index, [&](const TensorView& part, std::span<const std::int64_t> inside) {
      part.read_element(wanted, inside, into);
    });
  if (!has_data()) fail(*this, ErrorCode::type_mismatch, "expected values, the tensor is a meta tensor and has none");
  const DTypeInfo& type = info(dtype_);
  auto* element = static_cast<std::byte*>(into);
  source_->read(begin_ + at * type.block_bytes, {element, type.block_bytes});
  // Swapped first, because the sign bit is then in the last byte of each part.
  if (is_swapped()) swap_parts(element, type.block_bytes, type.swap_bytes);
  apply_lazy_bits(*this, element);
}

}  // namespace heft
