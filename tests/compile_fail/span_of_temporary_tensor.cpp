// The elements of a materialized Tensor die with it.
// expect: deleted (member )?function
#include <heft/heft.hpp>

float first(const heft::TensorView& view) {
#ifdef MUST_FAIL
  return heft::materialize(view).span<float>()[0];
#else
  const heft::Tensor tensor = heft::materialize(view);
  return tensor.span<float>()[0];
#endif
}
