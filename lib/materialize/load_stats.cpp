#include "heft/load_stats.hpp"

namespace heft {

std::string_view name(IoMethod method) noexcept {
  // No default: the compiler reports an enumerator that has no case.
  switch (method) {
    case IoMethod::map: return "map";
    case IoMethod::direct: return "direct";
    case IoMethod::read: return "read";
    case IoMethod::automatic: break;
  }
  return "automatic";
}

std::string_view name(IoReason reason) noexcept {
  // Complete without a default, as above.
  switch (reason) {
    case IoReason::asked: return "asked";
    case IoReason::resident: return "resident";
    case IoReason::not_resident: return "not_resident";
    case IoReason::in_memory: return "in_memory";
    case IoReason::access_read: return "access_read";
    case IoReason::no_lease: return "no_lease";
    case IoReason::no_populate: return "no_populate";
    case IoReason::no_direct: return "no_direct";
    case IoReason::made: return "made";
    case IoReason::requested: return "requested";
    case IoReason::device_destination: break;
  }
  return "device_destination";
}

}  // namespace heft
