// Gathers numbers that each follow a head byte. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include <array>
#include <bit>

#include "core/gather_run.hpp"
#include "kernels/gather.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
std::size_t GatherVectors(std::size_t, const std::byte*, std::byte*, std::size_t) { return 0; }
#else
constexpr std::size_t vector = 16;

// A vector of values is made from the 16 + n bytes of n numbers, in two loads: the first 16 bytes and the last 16. For
// each load: `values` has the positions of the values' bytes in host order (0x80: not in this load), `heads` marks
// heads.
template <std::size_t width>
struct Layout {
  static constexpr std::size_t numbers = vector / width;
  static constexpr std::size_t stride = width + 1;
  alignas(vector) std::array<std::uint8_t, vector> values[2] = {};
  alignas(vector) std::array<std::uint8_t, vector> heads[2] = {};

  constexpr Layout() {
    // TableLookupBytesOr0() returns 0 for positions with the top bit, so that the two loads can be combined by Or.
    for (auto& places : values) places.fill(0x80);
    for (std::size_t i = 0; i < numbers; ++i) {
      const std::size_t head = i * stride;
      // A value whose last byte is beyond the first 16 is taken whole from the second load, which starts `numbers`
      // bytes later.
      const std::size_t second = head + width < vector ? 0 : 1;
      for (std::size_t byte = 0; byte < width; ++byte) {
        // The file is big-endian, so on a little-endian host the bytes of a value are reversed.
        const std::size_t from = std::endian::native == std::endian::little ? width - 1 - byte : byte;
        values[second][i * width + byte] = static_cast<std::uint8_t>(head + 1 + from - second * numbers);
      }
      // Each head is compared in one load only, so that its position gives its number.
      if (head < vector)
        heads[0][head] = 0xFF;
      else
        heads[1][head - numbers] = 0xFF;
    }
  }
};

// gather_run() for whole vectors of values. Returns fewer than `count` at another head and for the last few numbers.
template <std::size_t width>
std::size_t gather_vectors(const std::byte* from, std::byte* to, std::size_t count) {
  static constexpr Layout<width> layout;
  constexpr std::size_t numbers = Layout<width>::numbers;
  constexpr std::size_t taken = numbers * Layout<width>::stride;
  constexpr std::size_t unrolled = 4;
  const hn::FixedTag<std::uint8_t, vector> d;
  const auto first_values = hn::Load(d, layout.values[0].data());
  const auto last_values = hn::Load(d, layout.values[1].data());
  const auto first_heads = hn::Load(d, layout.heads[0].data());
  const auto last_heads = hn::Load(d, layout.heads[1].data());
  const auto head = hn::Set(d, static_cast<std::uint8_t>(*from));
  const auto* source = reinterpret_cast<const std::uint8_t*>(from);
  auto* target = reinterpret_cast<std::uint8_t*>(to);
  std::size_t done = 0;
  // Four vectors share one test and one branch. Their values are stored before the test: if it fails, the loop below
  // does the same numbers again, one vector at a time, and finds the place.
  for (; done + unrolled * numbers <= count; done += unrolled * numbers) {
    auto differs = hn::Zero(d);
    for (std::size_t i = 0; i < unrolled; ++i) {
      const auto first = hn::LoadU(d, source + i * taken);
      const auto last = hn::LoadU(d, source + i * taken + numbers);
      differs = hn::Or(differs, hn::And(hn::Xor(first, head), first_heads));
      differs = hn::Or(differs, hn::And(hn::Xor(last, head), last_heads));
      hn::StoreU(hn::Or(hn::TableLookupBytesOr0(first, first_values), hn::TableLookupBytesOr0(last, last_values)), d,
                 target + i * vector);
    }
    if (!hn::AllTrue(d, hn::Eq(differs, hn::Zero(d)))) break;
    source += unrolled * taken;
    target += unrolled * vector;
  }
  for (; done + numbers <= count; done += numbers, source += taken, target += vector) {
    const auto first = hn::LoadU(d, source);
    const auto last = hn::LoadU(d, source + numbers);
    hn::StoreU(hn::Or(hn::TableLookupBytesOr0(first, first_values), hn::TableLookupBytesOr0(last, last_values)), d,
               target);
    // Values stored from the first other head on are not counted, and later stores overwrite them.
    const auto other = [&](auto bytes, auto heads) {
      return hn::Ne(hn::And(hn::Xor(bytes, head), heads), hn::Zero(d));
    };
    if (const std::intptr_t byte = hn::FindFirstTrue(d, other(first, first_heads)); byte >= 0)
      // The position of a head divided by the bytes of a number is its index.
      return done + static_cast<std::size_t>(byte) / Layout<width>::stride;
    if (const std::intptr_t byte = hn::FindFirstTrue(d, other(last, last_heads)); byte >= 0)
      return done + (static_cast<std::size_t>(byte) + numbers) / Layout<width>::stride;
  }
  return done;
}

std::size_t GatherVectors(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) {
  switch (width) {
    case 1: return gather_vectors<1>(from, to, count);
    case 2: return gather_vectors<2>(from, to, count);
    case 4: return gather_vectors<4>(from, to, count);
    default: return gather_vectors<8>(from, to, count);
  }
}
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::kernels {

HWY_EXPORT(GatherVectors);

std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  if (count == 0) return 0;
  const std::size_t done = HWY_DYNAMIC_DISPATCH(GatherVectors)(width, from, to, count);
  // The vectors stop before the last numbers, or at another head. Only in the first case the portable code goes on.
  if (done == count || (done > 0 && from[done * (width + 1)] != from[0])) return done;
  return done + core::gather_run(width, from + done * (width + 1), to + done * width, count - done);
}

}  // namespace heft::kernels
#endif
