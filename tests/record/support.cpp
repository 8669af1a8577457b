#include "record/support.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <span>

#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace heft::test {
namespace {

float element(const TensorView& view, std::span<const std::int64_t> at) {
  switch (at.size()) {
    case 0: return view.read<float>();
    case 1: return view.read<float>(at[0]);
    case 2: return view.read<float>(at[0], at[1]);
    case 3: return view.read<float>(at[0], at[1], at[2]);
    case 4: return view.read<float>(at[0], at[1], at[2], at[3]);
    default: FAIL("values_of() reads up to rank 4"); return 0;
  }
}

}  // namespace

TensorView counting(const Shape& shape, float first) {
  std::vector<float> values(shape.element_count());
  std::iota(values.begin(), values.end(), first);
  return TensorView::over("counting", DType::f32, shape, Bytes::copy_of(std::as_bytes(std::span(values))));
}

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(view.element_count());
  std::vector<std::int64_t> at(view.rank());
  for (std::size_t n = 0; n < values.size(); ++n) {
    std::size_t rest = n;
    for (std::size_t dim = view.rank(); dim-- > 0;) {
      const auto size = static_cast<std::size_t>(view.shape()[dim]);
      at[dim] = static_cast<std::int64_t>(rest % size);
      rest /= size;
    }
    values[n] = element(view, at);
  }
  return values;
}

Checkpoint checkpoint_of(const std::vector<std::string>& names, const OpenOptions& options) {
  SafetensorsBuilder builder;
  for (const std::string& name : names) builder.add(name, "U8", {1}, "x");
  const TempFolder folder;
  return open(folder.write("m.safetensors", builder.build()), options);
}

std::vector<std::string> names_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const TensorView& tensor : checkpoint.tensors()) names.emplace_back(tensor.name());
  return names;
}

}  // namespace heft::test
