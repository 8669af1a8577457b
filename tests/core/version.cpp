#include "heft/version.hpp"

#include <string>

#include <doctest/doctest.h>

namespace heft {

TEST_CASE("version: the library and its headers have the numbers of the project") {
  CHECK(version() == HEFT_VERSION);
  CHECK(version() == std::to_string(HEFT_VERSION_MAJOR) + '.' + std::to_string(HEFT_VERSION_MINOR) + '.' +
                         std::to_string(HEFT_VERSION_PATCH));
  CHECK(version() == PROJECT_VERSION);
}

}  // namespace heft
