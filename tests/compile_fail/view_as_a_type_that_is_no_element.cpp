// A view is read as element types only: C++ types that some file can store.
// expect: no matching function|constraints not satisfied
#include <heft/tensor_view.hpp>

std::size_t count(const heft::TensorView& view) {
#ifdef MUST_FAIL
  return view.as<long double>().size();
#else
  return view.as<double>().size();
#endif
}
