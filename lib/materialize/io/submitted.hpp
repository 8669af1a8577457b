// materialize/io/submitted.hpp: the result of a reader's submit().
#pragma once

#include <cstddef>
#include <cstdint>

namespace heft::engine {

/// Chunks that were submitted, and the bytes that they need.
struct Submitted {
  std::size_t chunks = 0;
  std::uint64_t bytes = 0;
};

}  // namespace heft::engine
