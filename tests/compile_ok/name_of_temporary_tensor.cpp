// Name and shape of a tensor, and of an entry of a plan, that die at the semicolon are values.
#include <heft/heft.hpp>

#include <type_traits>

heft::LoadPlan planned(const heft::TensorView& view);

std::string names(const heft::TensorView& view) {
  static_assert(std::is_same_v<decltype(heft::materialize(view).shape()), heft::Shape>);
  static_assert(std::is_same_v<decltype(heft::materialize(view).strides()), heft::Strides>);
  static_assert(std::is_same_v<decltype(planned(view).shape(0)), heft::Shape>);
  return heft::materialize(view).name() + planned(view).name(0);
}
