// format/unrecognized.hpp: what to say of a file that is of no format heft knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::format {

/// Throws Error{unrecognized} with what the first bytes are: nothing, zeros, a web page, XML, JSON, other text (with its title or first
/// line), or else the bytes themselves; and what to do.
[[noreturn]] void refuse_unknown(std::span<const std::byte> head, std::uint64_t file_size);

}  // namespace heft::format
