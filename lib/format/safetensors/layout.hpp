// format/safetensors/layout.hpp: constants and dtypes of the format, for reader and writer.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "heft/dtype.hpp"

namespace heft::format::safetensors {

inline constexpr std::uint64_t length_bytes = 8;
inline constexpr std::uint64_t reference_header_bytes = 100'000'000;  ///< MAX_HEADER_SIZE, also the default in Limits.

struct TypeRow {
  DType dtype;
  std::string_view name;
};

/// All dtypes, in the order of writing: tensor.rs sorts by its enumeration, in descending order. F8_E4M3 is PyTorch's
/// float8_e4m3fn.
inline constexpr auto types = std::to_array<TypeRow>({
    {DType::u64, "U64"},
    {DType::i64, "I64"},
    {DType::f64, "F64"},
    {DType::c64, "C64"},
    {DType::f32, "F32"},
    {DType::u32, "U32"},
    {DType::i32, "I32"},
    {DType::bf16, "BF16"},
    {DType::f16, "F16"},
    {DType::u16, "U16"},
    {DType::i16, "I16"},
    {DType::f8_e5m2fnuz, "F8_E5M2FNUZ"},
    {DType::f8_e4m3fnuz, "F8_E4M3FNUZ"},
    {DType::f8_e8m0, "F8_E8M0"},
    {DType::f8_e4m3, "F8_E4M3"},
    {DType::f8_e5m2, "F8_E5M2"},
    {DType::i8, "I8"},
    {DType::u8, "U8"},
    {DType::f6_e3m2, "F6_E3M2"},
    {DType::f6_e2m3, "F6_E2M3"},
    {DType::f4_e2m1, "F4"},
    {DType::boolean, "BOOL"},
});

}  // namespace heft::format::safetensors
