// The spec of a tensor refers to its plan, which dies at the semicolon.
// expect: deleted (member )?function
#include <heft/plan.hpp>

heft::LoadPlan made();

std::size_t rank_of_first() {
#ifdef MUST_FAIL
  const heft::TensorSpec first = made()[0];
#else
  const heft::LoadPlan plan = made();
  const heft::TensorSpec first = plan[0];
#endif
  return first.shape.size();
}
