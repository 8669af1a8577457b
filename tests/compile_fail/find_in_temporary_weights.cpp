// A pointer into Weights that die at the semicolon would dangle.
// expect: deleted (member )?function
#include <heft/heft.hpp>

std::uint64_t bytes_of(const heft::LoadPlan& plan) {
#ifdef MUST_FAIL
  const heft::Tensor* tensor = heft::materialize(plan).find("embedding");
#else
  const heft::Weights weights = heft::materialize(plan);
  const heft::Tensor* tensor = weights.find("embedding");
#endif
  return tensor->size_bytes();
}
