// Reads PyTorch files for tests: elements as numbers, values by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "format/catalog.hpp"
#include "format/format.hpp"
#include "support/json_tree.hpp"

namespace heft::test {

/// The catalog of `file` as the first format that matches reads it. Throws Error.
[[nodiscard]] format::Catalog open_bytes(std::string_view file, const format::ReadOptions& options = {});

/// The entry of that name; fails the test when there is none.
[[nodiscard]] const format::TensorEntry& tensor_of(const format::Catalog& catalog, std::string_view name);
/// The node of the value of that name, or null.
[[nodiscard]] const format::Node* value_of(const format::Catalog& catalog, std::string_view name);

/// The tensor's elements in row-major order, packed, little-endian, whatever its strides and byte order; inflated when
/// it must be.
[[nodiscard]] std::string elements_of(const format::Catalog& catalog, const format::TensorEntry& tensor,
                                      std::string_view file);
/// Element `index` of packed elements; the real part of a complex one.
[[nodiscard]] double number_at(DType dtype, std::string_view elements, std::size_t index);

/// "module.name" of an opaque node.
[[nodiscard]] std::string_view class_of(const format::Catalog& catalog, const format::Node& node);

}  // namespace heft::test
