#include "heft/destination.hpp"

#include "heft/error.hpp"

namespace heft {

void Destination::write(std::uint64_t, Bytes) {
  throw Error(ErrorCode::unsupported, "expected a destination that gives memory or takes bytes, this one does neither");
}

}  // namespace heft
