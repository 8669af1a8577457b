// format/formats.hpp: every format's descriptor, declared from the one list in formats.inc.
#pragma once

#include "format/format.hpp"

namespace heft::format {

#define HEFT_FORMAT(name) extern const Format name##_format;
#include "format/formats.inc"
#undef HEFT_FORMAT

}  // namespace heft::format
