// Mapped pages are read-only: a write through them would be a signal, so it does not compile.
// expect: assignment of read-only|invalid conversion|cannot assign|cannot initialize
#include <heft/bytes.hpp>

void write(const heft::Bytes& bytes) {
#ifdef MUST_FAIL
  bytes.span()[0] = std::byte{1};
#else
  std::byte copy = bytes.span()[0];
  copy = std::byte{1};
  (void)copy;
#endif
}
