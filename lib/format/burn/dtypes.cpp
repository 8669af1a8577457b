#include "format/burn/dtypes.hpp"

#include <string>

#include <fmt/format.h>

namespace heft::format {
namespace {

struct Row {
  std::string_view name;
  std::string_view parameter;
  DType dtype;
};

// Flex32 is a precision of computation, stored as f32. A bool without a parameter comes from a version with one
// encoding, a byte for each.
constexpr Row rows[] = {
    {"F64", "", DType::f64},        {"F32", "", DType::f32},      {"Flex32", "", DType::f32},
    {"F16", "", DType::f16},        {"BF16", "", DType::bf16},    {"I64", "", DType::i64},
    {"I32", "", DType::i32},        {"I16", "", DType::i16},      {"I8", "", DType::i8},
    {"U64", "", DType::u64},        {"U32", "", DType::u32},      {"U16", "", DType::u16},
    {"U8", "", DType::u8},          {"Bool", "", DType::boolean}, {"Bool", "Native", DType::boolean},
    {"Bool", "U8", DType::boolean},
};

}  // namespace

void set_burn_dtype(Catalog& catalog, TensorEntry& entry, std::string_view name, std::string_view parameter) {
  for (const Row& row : rows) {
    if (row.name != name || row.parameter != parameter) continue;
    entry.dtype = row.dtype;
    return;
  }
  // The name as Rust prints the variant: QFloat(..).
  const std::string type = parameter.empty() ? std::string(name) : fmt::format("{}({})", name, parameter);
  catalog.set_unknown_dtype(entry, catalog.arena.store(type));
}

}  // namespace heft::format
