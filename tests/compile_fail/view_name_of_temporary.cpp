// The name of a view is borrowed from what the view holds.
// expect: deleted (member )?function
#include <heft/tensor_view.hpp>

std::string_view name_of(const heft::TensorView& view) {
#ifdef MUST_FAIL
  return view.slice(0, 0, 1).name();
#else
  return view.name();
#endif
}
