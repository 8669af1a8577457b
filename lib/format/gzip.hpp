// format/gzip.hpp: where the deflated bytes of a gzip file lie (RFC 1952). Inflating them is inflate.hpp's.
#pragma once

#include <cstddef>
#include <span>

#include "core/input.hpp"
#include "format/catalog.hpp"

namespace heft::format {

/// "1f 8b 08": gzip, deflated.
bool is_gzip(std::span<const std::byte> head) noexcept;

/// The file as one member, by its header and the checksum and size at its end. Throws Error{corrupt} when these do not
/// fit the file, and Error{unsupported} for flags that the RFC reserves. What inflates it finds out whether it is one
/// stream of that size: a file of several gzip members is not.
Member read_gzip(const core::Input& input);

}  // namespace heft::format
