// format/formats.hpp: declarations of every format's descriptor, generated from the list in formats.inc.
#pragma once

#include "format/format.hpp"

namespace heft::format {

#define HEFT_FORMAT(name) extern const Format name##_format;
#include "format/formats.inc"
#undef HEFT_FORMAT

}  // namespace heft::format
