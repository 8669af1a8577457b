// format/value_list.hpp: numbers that MessagePack holds one by one, packed into the memory of a tensor.
#pragma once

#include <string_view>

#include "format/catalog.hpp"
#include "format/messagepack.hpp"
#include "heft/dtype.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// What integers of a list stand for: in files that spell halves by their bits, f16 or bf16; otherwise the integer type
/// they were saved from.
struct ListTypes {
  DType half = DType::unknown;  ///< unknown: integers are integers.
  DType integer = DType::i64;
};

/// Reads the `list.number` items of `list`, whose head next() gave last, into an entry over a new member of the
/// Catalog: its dtype, range and member are set. `held` are the bytes of all lists so far, under
/// Limits::value_list_bytes.
///
/// All items are of one kind: f32, f64, booleans, or integers. Throws Error{corrupt} otherwise, or when an integer does
/// not fit its type. Memory is taken for no more items than the bytes that remain can hold.
TensorEntry read_value_list(Catalog& catalog, PackReader& reader, const PackItem& list, const ListTypes& types,
                            const Limits& limits, std::uint64_t& held);

}  // namespace heft::format
