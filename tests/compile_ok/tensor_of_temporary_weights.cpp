// A tensor looked up in Weights that die at the semicolon is a copy, which shares the memory.
#include <heft/heft.hpp>

#include <type_traits>

double first_and_seconds(const heft::LoadPlan& plan) {
  static_assert(std::is_same_v<decltype(heft::materialize(plan)["w"]), heft::Tensor>);
  static_assert(std::is_same_v<decltype(heft::materialize(plan)["w"].owned_bytes()), heft::Bytes>);
  const heft::Tensor& extended = heft::materialize(plan)["w"];
  return extended.span<float>()[0] + heft::materialize(plan)["w"].slice<float>()[0] +
         heft::materialize(plan).stats().seconds;
}
