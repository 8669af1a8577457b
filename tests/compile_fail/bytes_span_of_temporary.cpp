// The span of a Bytes that dies at the semicolon would dangle.
// expect: deleted (member )?function
#include <heft/bytes.hpp>

heft::Bytes make();

std::span<const std::byte> look() {
#ifdef MUST_FAIL
  return make().span();
#else
  static const heft::Bytes kept = make();
  return kept.span();
#endif
}
