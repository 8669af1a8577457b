#include "kernels/dequant.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/dequant_scalar.hpp"
#include "kernels/dequant_simd.hpp"

namespace heft::kernels {
namespace {

/// `count` consecutive numbers of `width` bytes at `offset` in a block, as declared in ggml's structs.
struct Field {
  std::uint16_t offset = 0;
  std::uint8_t width = 0;
  std::uint8_t count = 0;
};

/// The properties of a block type that its row in the dtype table lacks.
struct BlockType {
  DType dtype;
  void (*decode)(scalar::Block block, float* y) noexcept;
  std::array<Field, 2> fields = {};
};

constexpr auto block_types = std::to_array<BlockType>({
    {DType::q4_0, scalar::q4_0, {{{0, 2, 1}}}},
    {DType::q4_1, scalar::q4_1, {{{0, 2, 2}}}},
    {DType::q5_0, scalar::q5_0, {{{0, 2, 1}}}},
    {DType::q5_1, scalar::q5_1, {{{0, 2, 2}}}},
    {DType::q8_0, scalar::q8_0, {{{0, 2, 1}}}},
    {DType::q8_1, scalar::q8_1, {{{0, 2, 2}}}},
    {DType::q1_0, scalar::q1_0, {{{0, 2, 1}}}},
    {DType::q2_0, scalar::q2_0, {{{0, 2, 1}}}},
    {DType::q2_k, scalar::q2_k, {{{80, 2, 2}}}},
    {DType::q3_k, scalar::q3_k, {{{108, 2, 1}}}},
    {DType::q4_k, scalar::q4_k, {{{0, 2, 2}}}},
    {DType::q5_k, scalar::q5_k, {{{0, 2, 2}}}},
    {DType::q6_k, scalar::q6_k, {{{208, 2, 1}}}},
    {DType::q8_k, scalar::q8_k, {{{0, 4, 1}, {260, 2, 16}}}},
    {DType::iq2_xxs, scalar::iq2_xxs, {{{0, 2, 33}}}},
    {DType::iq2_xs, scalar::iq2_xs, {{{0, 2, 33}}}},
    {DType::iq2_s, scalar::iq2_s, {{{0, 2, 1}}}},
    {DType::iq3_xxs, scalar::iq3_xxs, {{{0, 2, 1}}}},
    {DType::iq3_s, scalar::iq3_s, {{{0, 2, 1}}}},
    {DType::iq1_s, scalar::iq1_s, {{{0, 2, 1}, {34, 2, 8}}}},
    {DType::iq1_m, scalar::iq1_m, {{{48, 2, 4}}}},
    {DType::iq4_nl, scalar::iq4_nl, {{{0, 2, 1}}}},
    {DType::iq4_xs, scalar::iq4_xs, {{{0, 2, 2}}}},
    {DType::tq1_0, scalar::tq1_0, {{{52, 2, 1}}}},
    {DType::tq2_0, scalar::tq2_0, {{{64, 2, 1}}}},
    {DType::mxfp4, scalar::mxfp4},
    {DType::nvfp4, scalar::nvfp4},
});

// Returns the row of a block type, or null.
const BlockType* find(DType dtype) noexcept {
  const auto row = std::ranges::find(block_types, dtype, &BlockType::dtype);
  return row == block_types.end() ? nullptr : &*row;
}

}  // namespace

bool can_dequantize(DType dtype) noexcept { return find(dtype) != nullptr; }

void dequantize(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept {
  // Q8_1, Q8_K and TQ1_0 have no kernel: files of published models rarely contain them.
  if (has_block_kernel(dtype, DType::f32))
    return decode_blocks(dtype, DType::f32, blocks, block_count, reinterpret_cast<std::byte*>(out));
  dequantize_scalar(dtype, blocks, block_count, out);
}

void dequantize_scalar(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept {
  // Looked up once: the function decodes one block.
  const auto decode = find(dtype)->decode;
  const DTypeInfo& row = info(dtype);
  const auto* block = reinterpret_cast<scalar::Block>(blocks);
  for (; block_count > 0; --block_count, block += row.block_bytes, out += row.block_elements) decode(block, out);
}

void swap_block_fields(DType dtype, std::byte* blocks, std::size_t block_count) noexcept {
  const auto& fields = find(dtype)->fields;
  // In place, block by block: only few bytes of each change, and they are in the cache.
  const std::size_t block_bytes = info(dtype).block_bytes;
  for (std::byte* block = blocks; block != blocks + block_count * block_bytes; block += block_bytes)
    // Empty rows have count 0. Quants of less than two bytes have no order, so they are in no field.
    for (const Field& field : fields)
      for (std::byte* number = block + field.offset; number != block + field.offset + field.width * field.count;
           number += field.width)
        std::reverse(number, number + field.width);
}

}  // namespace heft::kernels
