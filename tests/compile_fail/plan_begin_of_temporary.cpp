// An iterator into a plan that dies at the semicolon would dangle; a loop over one keeps it alive.
// expect: deleted (member )?function
#include <heft/plan.hpp>

heft::LoadPlan made();

std::uint64_t bytes_of_first() {
#ifdef MUST_FAIL
  const auto at = made().begin();
#else
  const heft::LoadPlan plan = made();
  const auto at = plan.begin();
#endif
  return (*at).size_bytes;
}
