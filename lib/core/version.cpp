#include "heft/version.hpp"

namespace heft {

std::string_view version() noexcept { return HEFT_VERSION; }

}  // namespace heft
