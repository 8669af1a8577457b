// The elements of a Slice that dies at the semicolon would dangle.
// expect: deleted (member )?function
#include <heft/tensor_view.hpp>

std::span<const float> look(const heft::TensorView& view) {
#ifdef MUST_FAIL
  return view.as<float>().span();
#else
  static const heft::Slice<float> kept = view.as<float>();
  return kept.span();
#endif
}
