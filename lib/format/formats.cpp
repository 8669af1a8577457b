#include "format/formats.hpp"

#include <array>

namespace heft::format {
namespace {

constinit const std::array in_order{
#define HEFT_FORMAT(name) &name##_format,
#include "format/formats.inc"
#undef HEFT_FORMAT
};

}  // namespace

std::span<const Format* const> formats() noexcept { return in_order; }

const Format* recognize(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  for (const Format* format : in_order)
    if (format->matches(head, file_size)) return format;
  return nullptr;
}

}  // namespace heft::format
