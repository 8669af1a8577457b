// The dims of a temporary Shape lie inside it.
// expect: deleted (member )?function
#include <heft/shape.hpp>

std::int64_t first() {
#ifdef MUST_FAIL
  const std::span<const std::int64_t> dims = heft::Shape{2, 3}.span();
#else
  const heft::Shape shape{2, 3};
  const std::span<const std::int64_t> dims = shape.span();
#endif
  return dims[0];
}
