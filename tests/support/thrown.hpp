// The Error that a call throws, so that a test can check its code, path, offset and message.
#pragma once

#include <doctest/doctest.h>

#include <stdexcept>
#include <type_traits>

#include "heft/error.hpp"

namespace heft::test {

/// Runs `call` and returns the Error that it throws. Fails the test when it throws nothing or another exception.
template <class Call>
[[nodiscard]] Error thrown_by(Call&& call) {
  try {
    if constexpr (std::is_void_v<decltype(call())>)
      call();
    else
      static_cast<void>(call());
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& other) {
    FAIL("expected a heft::Error, caught: " << other.what());
  }
  FAIL("expected a heft::Error, nothing was thrown");
  throw std::logic_error("FAIL returned");
}

}  // namespace heft::test
