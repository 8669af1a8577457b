// Name, shape and strides of a tensor that dies at the semicolon are values.
#include <heft/heft.hpp>

#include <type_traits>

std::string names(const heft::TensorView& view) {
  static_assert(std::is_same_v<decltype(heft::materialize(view).shape()), heft::Shape>);
  static_assert(std::is_same_v<decltype(heft::materialize(view).strides()), heft::Strides>);
  return heft::materialize(view).name();
}
