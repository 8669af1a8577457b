#include "format/gguf/tensor_types.hpp"

#include <algorithm>
#include <array>

namespace heft::format::gguf {
namespace {

// In the order of ggml's enum ggml_type (ggml.h of August 2026); the index is the number in the file.
constexpr auto types = std::to_array<TensorType>({
    {"f32", DType::f32},          // 0
    {"f16", DType::f16},          // 1
    {"q4_0", DType::q4_0},        // 2
    {"q4_1", DType::q4_1},        // 3
    {"q4_2"},                     // 4, removed in May 2023
    {"q4_3"},                     // 5, removed in May 2023
    {"q5_0", DType::q5_0},        // 6
    {"q5_1", DType::q5_1},        // 7
    {"q8_0", DType::q8_0},        // 8
    {"q8_1", DType::q8_1},        // 9
    {"q2_k", DType::q2_k},        // 10
    {"q3_k", DType::q3_k},        // 11
    {"q4_k", DType::q4_k},        // 12
    {"q5_k", DType::q5_k},        // 13
    {"q6_k", DType::q6_k},        // 14
    {"q8_k", DType::q8_k},        // 15
    {"iq2_xxs", DType::iq2_xxs},  // 16
    {"iq2_xs", DType::iq2_xs},    // 17
    {"iq3_xxs", DType::iq3_xxs},  // 18
    {"iq1_s", DType::iq1_s},      // 19
    {"iq4_nl", DType::iq4_nl},    // 20
    {"iq3_s", DType::iq3_s},      // 21
    {"iq2_s", DType::iq2_s},      // 22
    {"iq4_xs", DType::iq4_xs},    // 23
    {"i8", DType::i8},            // 24
    {"i16", DType::i16},          // 25
    {"i32", DType::i32},          // 26
    {"i64", DType::i64},          // 27
    {"f64", DType::f64},          // 28
    {"iq1_m", DType::iq1_m},      // 29
    {"bf16", DType::bf16},        // 30
    {"q4_0_4_4"},                 // 31, interleaved q4_0, removed in November 2024 as the next two
    {"q4_0_4_8"},                 // 32
    {"q4_0_8_8"},                 // 33
    {"tq1_0", DType::tq1_0},      // 34
    {"tq2_0", DType::tq2_0},      // 35
    {"iq4_nl_4_4"},               // 36, interleaved iq4_nl, never in a release
    {"iq4_nl_4_8"},               // 37
    {"iq4_nl_8_8"},               // 38
    {"mxfp4", DType::mxfp4},      // 39
    {"nvfp4", DType::nvfp4},      // 40
    {"q1_0", DType::q1_0},        // 41
    {"q2_0", DType::q2_0},        // 42
});

}  // namespace

std::optional<TensorType> tensor_type(std::uint32_t id) noexcept {
  if (id >= types.size()) return std::nullopt;
  return types[id];
}

std::optional<std::uint32_t> type_id(DType dtype) noexcept {
  // Rows of removed types have this dtype, so the search would return one of them.
  if (dtype == DType::unknown) return std::nullopt;
  const auto row = std::ranges::find(types, dtype, &TensorType::dtype);
  if (row == types.end()) return std::nullopt;
  return static_cast<std::uint32_t>(row - types.begin());
}

}  // namespace heft::format::gguf
