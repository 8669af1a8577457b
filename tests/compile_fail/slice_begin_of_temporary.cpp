// A pointer to the elements of a Slice that dies at the semicolon would dangle; a loop over one keeps it alive.
// expect: deleted (member )?function
#include <heft/tensor_view.hpp>

float sum(const heft::TensorView& view) {
#ifdef MUST_FAIL
  const float* at = view.as<float>().begin();
  return *at;
#else
  float total = 0;
  for (const float value : view.as<float>()) total += value;
  return total;
#endif
}
