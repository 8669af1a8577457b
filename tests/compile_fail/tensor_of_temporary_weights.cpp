// A tensor looked up in Weights that die at the semicolon would be a reference to nothing.
// expect: deleted (member )?(function|operator)
#include <heft/heft.hpp>

std::uint64_t bytes_of(const heft::LoadPlan& plan) {
#ifdef MUST_FAIL
  const heft::Tensor& tensor = heft::materialize(plan)["embedding"];
#else
  const heft::Weights weights = heft::materialize(plan);
  const heft::Tensor& tensor = weights["embedding"];
#endif
  return tensor.size_bytes();
}
