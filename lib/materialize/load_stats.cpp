#include "heft/load_stats.hpp"

namespace heft {

std::string_view name(Path path) noexcept {
  switch (path) {
    case Path::map: return "map";
    case Path::direct: return "direct";
    case Path::read: return "read";
    case Path::automatic: break;
  }
  return "automatic";
}

std::string_view name(PathReason reason) noexcept {
  switch (reason) {
    case PathReason::asked: return "asked";
    case PathReason::resident: return "resident";
    case PathReason::not_resident: return "not_resident";
    case PathReason::in_memory: return "in_memory";
    case PathReason::access_read: return "access_read";
    case PathReason::no_lease: return "no_lease";
    case PathReason::no_populate: return "no_populate";
    case PathReason::no_direct: return "no_direct";
    case PathReason::made: return "made";
    case PathReason::far_destination: break;
  }
  return "far_destination";
}

}  // namespace heft
