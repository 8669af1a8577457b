// A pointer to the dims of a Shape that dies at the semicolon would dangle.
// expect: deleted (member )?function
#include <heft/tensor_view.hpp>

std::int64_t rows(const heft::TensorView& view) {
#ifdef MUST_FAIL
  const std::int64_t* const dims = view.slice(0, 0, 1).shape().begin();
#else
  const heft::Shape shape = view.slice(0, 0, 1).shape();
  const std::int64_t* const dims = shape.begin();
#endif
  return dims[0];
}
