// The main() of every test binary.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// std::runtime_error shares its message between copies and counts the references in libstdc++.so, which is not
// instrumented. So the thread sanitizer does not see that the thread which reads the message of a failure is done
// before the thread that made the failure destroys its copy.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:std::runtime_error::~runtime_error\nrace:std::logic_error::~logic_error\n";
}
#endif
