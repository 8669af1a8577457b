// Kernels between f32 and the narrow floats. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_float.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "materialize/kernels.hpp"
#include "materialize/kernels_narrow-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

// Fewer elements than a vector: through a padded copy.
template <class Float>
void widen_few(const typename Float::Code* from, float* to, std::size_t count) {
  HWY_ALIGN typename Float::Code padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN float widened[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(padded, from, count * sizeof *from);
  hn::Store(load_widened<Float>(padded), F32(), widened);
  std::memcpy(to, widened, count * sizeof *to);
}

template <class Float>
void widen_cached(const typename Float::Code* from, float* to, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(load_widened<Float>(from + i), F32(), to + i);
  if (i < count) widen_few<Float>(from + i, to + i, count - i);
}

template <class Float>
void widen_streaming(const typename Float::Code* from, float* to, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F32());
  const std::size_t into_vector = reinterpret_cast<std::uintptr_t>(to) / sizeof(float) % lanes;
  const std::size_t head = into_vector == 0 ? 0 : HWY_MIN(count, lanes - into_vector);
  if (head != 0) widen_few<Float>(from, to, head);
  std::size_t i = head;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    hn::Stream(load_widened<Float>(from + i), F32(), to + i);
    hn::Stream(load_widened<Float>(from + i + lanes), F32(), to + i + lanes);
  }
  hwy::FlushStream();
  widen_cached<Float>(from + i, to + i, count - i);
}

template <class Float>
void widen(const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  // Neither run need be aligned: they are only ever touched by unaligned loads and stores, or past the alignment that widen_streaming reaches.
  const auto* codes = reinterpret_cast<const typename Float::Code*>(from);
  auto* floats = reinterpret_cast<float*>(to);
  if (streaming && reinterpret_cast<std::uintptr_t>(to) % sizeof(float) == 0) widen_streaming<Float>(codes, floats, count);
  else widen_cached<Float>(codes, floats, count);
}

template <class Float>
void narrow(const std::byte* from_bytes, std::byte* to, std::size_t count) {
  using Code = typename Float::Code;
  const auto* from = reinterpret_cast<const float*>(from_bytes);
  Code* codes = reinterpret_cast<Code*>(to);
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store_as<Float>(hn::LoadU(F32(), from + i), codes + i);
  if (i == count) return;
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN Code narrowed[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(padded, from + i, (count - i) * sizeof *from);
  store_as<Float>(hn::Load(F32(), padded), narrowed);
  std::memcpy(codes + i, narrowed, (count - i) * sizeof(Code));
}

void Widen(DType type, const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  switch (type) {
    case DType::f16: return widen<Half>(from, to, count, streaming);
    case DType::bf16: return widen<Bfloat>(from, to, count, streaming);
    case DType::f8_e4m3: return widen<E4m3>(from, to, count, streaming);
    case DType::f8_e5m2: return widen<E5m2>(from, to, count, streaming);
    case DType::f8_e4m3fnuz: return widen<E4m3fnuz>(from, to, count, streaming);
    case DType::f8_e5m2fnuz: return widen<E5m2fnuz>(from, to, count, streaming);
    default: return widen<E8m0>(from, to, count, streaming);
  }
}

void Narrow(DType type, const std::byte* from, std::byte* to, std::size_t count) {
  switch (type) {
    case DType::f16: return narrow<Half>(from, to, count);
    case DType::bf16: return narrow<Bfloat>(from, to, count);
    case DType::f8_e4m3: return narrow<E4m3>(from, to, count);
    case DType::f8_e5m2: return narrow<E5m2>(from, to, count);
    case DType::f8_e4m3fnuz: return narrow<E4m3fnuz>(from, to, count);
    case DType::f8_e5m2fnuz: return narrow<E5m2fnuz>(from, to, count);
    default: return narrow<E8m0>(from, to, count);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::engine {

HWY_EXPORT(Widen);
HWY_EXPORT(Narrow);

bool has_narrow_kernel(DType dtype) noexcept {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
    case DType::f8_e4m3:
    case DType::f8_e5m2:
    case DType::f8_e4m3fnuz:
    case DType::f8_e5m2fnuz:
    case DType::f8_e8m0: return true;
    default: return false;
  }
}

void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Widen)(from_type, from, to, count, store == Store::streaming);
}

void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Narrow)(to_type, from, to, count);
}

}  // namespace heft::engine
#endif
