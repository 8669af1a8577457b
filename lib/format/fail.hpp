// format/fail.hpp: the Error of a file at an offset.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "heft/error.hpp"

namespace heft::format {

[[noreturn]] inline void fail(ErrorCode code, std::string message, std::uint64_t offset) {
  throw Error(code, std::move(message), {.offset = offset});
}

}  // namespace heft::format
