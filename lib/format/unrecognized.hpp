// format/unrecognized.hpp: the error for a file of an unknown format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::format {

/// Throws Error{unrecognized}. The message describes the first bytes (none, zeros, a web page, XML, JSON or other text
/// with its title or first line, else the bytes in hexadecimal) and contains advice.
[[noreturn]] void refuse_unknown(std::span<const std::byte> head, std::uint64_t file_size);

}  // namespace heft::format
