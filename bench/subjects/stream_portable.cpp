// stream() for builds without known non-temporal stores: memcpy(), which chooses its own stores.
#include <algorithm>
#include <cstring>

#include "subjects/stream.hpp"

namespace bench {

void stream(std::span<const std::byte> in, std::span<std::byte> out) noexcept {
  const std::size_t run = std::min(in.size(), out.size());
  for (std::size_t at = 0; at < out.size(); at += run) std::memcpy(out.data() + at, in.data(), run);
  for (std::size_t at = run; at + run <= in.size(); at += run) std::memcpy(out.data(), in.data() + at, run);
}

}  // namespace bench
