// Shape and strides of a view that dies at the semicolon are values, and so are their dims.
#include <heft/tensor_view.hpp>

#include <type_traits>

std::int64_t rows_of_half(const heft::TensorView& view) {
  static_assert(std::is_same_v<decltype(view.transpose(0, 1).shape()), heft::Shape>);
  static_assert(std::is_same_v<decltype(view.transpose(0, 1).strides()), heft::Strides>);
  static_assert(std::is_same_v<decltype(view.transpose(0, 1).shape()[0]), std::int64_t>);
  const heft::Shape& extended = view.slice(0, 0, 1).shape();
  return view.shard(0, 0, 2).shape()[0] + extended[0];
}
