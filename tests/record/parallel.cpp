#include "record/parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

using heft::record::in_parallel;

TEST_CASE("parallel: every step is called exactly once") {
  for (const std::size_t count : {0u, 1u, 7u, 16u, 500u}) {
    std::vector<std::atomic<int>> calls(count);
    in_parallel(count, [&](std::size_t number) { ++calls[number]; });
    for (const auto& call : calls) CHECK(call == 1);
  }
}

TEST_CASE("parallel: the error of the lowest step is the one thrown, after all were called") {
  std::atomic<int> calls = 0;
  std::string said;
  try {
    in_parallel(300, [&](std::size_t number) {
      ++calls;
      if (number % 100 == 42) throw std::runtime_error(std::to_string(number));
    });
  } catch (const std::runtime_error& error) {
    said = error.what();
  }
  CHECK(said == "42");
  CHECK(calls == 300);
}
