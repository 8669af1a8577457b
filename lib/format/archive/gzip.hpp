// format/archive/gzip.hpp: header and trailer of gzip files (RFC 1952); inflate.hpp inflates them.
#pragma once

#include <cstddef>
#include <span>

#include "core/input.hpp"
#include "format/catalog.hpp"

namespace heft::format {

/// Returns true for "1f 8b 08": gzip, deflated.
bool is_gzip(std::span<const std::byte> head) noexcept;

/// Returns the first `wanted` inflated bytes, to recognize the contents. Does not read the end of the file. Throws
/// Error{corrupt} if there are fewer or the stream is malformed before; Error{unsupported} as read_gzip() does.
Bytes gzip_first(const core::Input& input, std::uint64_t wanted);

/// Returns the file as one member, from its header and the checksum and size at its end. Throws Error{corrupt} if these
/// do not fit the file, and Error{unsupported} for flags that the RFC reserves. Inflating the member detects a file of
/// several gzip members, which is not one stream of that size.
Member read_gzip(const core::Input& input);

}  // namespace heft::format
