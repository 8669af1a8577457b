#include "format/range_checks.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {

std::optional<std::string_view> duplicate(std::vector<std::string_view> names) {
  std::ranges::sort(names);
  const auto twin = std::ranges::adjacent_find(names);
  if (twin == names.end()) return std::nullopt;
  return *twin;
}

void require_unique_names(std::span<const TensorEntry> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorEntry& tensor : tensors) names.push_back(tensor.name);
  if (const auto twin = duplicate(std::move(names)))
    throw Error(ErrorCode::ambiguous, "two tensors have this name", {.tensor = std::string(*twin)});
}

void require_unique_names(const Catalog& catalog) {
  std::vector<std::string_view> names;
  names.reserve(catalog.tensors.size() + catalog.joined.size() + catalog.values.size());
  for (const TensorEntry& tensor : catalog.tensors) names.push_back(tensor.name);
  for (const Joined& tensor : catalog.joined) names.push_back(tensor.whole.name);
  for (const Value& value : catalog.values) names.push_back(value.name);
  if (const auto twin = duplicate(std::move(names)))
    throw Error(ErrorCode::ambiguous, "two tensors or values have this name", {.tensor = std::string(*twin)});
}

bool comes_before(const TensorEntry& a, const TensorEntry& b) noexcept {
  const auto place = [](const TensorEntry& tensor) {
    // The file itself has member `none`, the largest number, so it comes after the members. Empty tensors come first
    // at their offset: they then never lie between two tensors whose ranges are compared.
    return std::tuple(tensor.member, tensor.begin, tensor.size != 0, tensor.name);
  };
  return place(a) < place(b);
}

void sort_by_place(std::span<TensorEntry> tensors) {
  // Most files list their tensors in this order, and the check takes linear time.
  if (!std::ranges::is_sorted(tensors, comes_before)) std::ranges::sort(tensors, comes_before);
}

void require_disjoint(std::span<const TensorEntry> tensors) {
  const TensorEntry* previous = nullptr;
  for (const TensorEntry& tensor : tensors) {
    // An empty range overlaps nothing, wherever it lies.
    if (tensor.size == 0) continue;
    // Sorted, so the difference is not negative, and comparing neighbours finds an overlap if there is one.
    if (previous != nullptr && tensor.member == previous->member && tensor.begin - previous->begin < previous->size)
      throw Error(ErrorCode::ambiguous,
                  fmt::format("its bytes overlap those of '{}', which end at {}", core::escaped(previous->name),
                              previous->begin + previous->size),
                  {.tensor = std::string(tensor.name), .offset = tensor.begin});
    previous = &tensor;
  }
}

void require_raw_bytes(const Catalog& catalog, const TensorEntry& tensor, std::uint64_t offset) {
  const std::span<const std::int64_t> sizes = catalog.sizes(tensor);
  // The bytes of an element are not known, so only "none" and "some" can be compared.
  const bool is_empty = std::ranges::find(sizes, 0) != sizes.end();
  if (is_empty == (tensor.size == 0)) return;
  throw Error(ErrorCode::corrupt,
              fmt::format("expected {} for shape {} of {}, found {}", is_empty ? "no bytes" : "bytes",
                          to_string(Shape(sizes)), core::escaped(catalog.type_names[tensor.type_name]), tensor.size),
              {.tensor = std::string(tensor.name), .offset = offset});
}

}  // namespace heft::format
