// format/archive/gzip.hpp: where the deflated bytes of a gzip file lie (RFC 1952). Inflating them is inflate.hpp's.
#pragma once

#include <cstddef>
#include <span>

#include "core/input.hpp"
#include "format/catalog.hpp"

namespace heft::format {

/// "1f 8b 08": gzip, deflated.
bool is_gzip(std::span<const std::byte> head) noexcept;

/// The first `wanted` inflated bytes, whatever the end of the file is like: enough to name what the file holds. Throws Error{corrupt} when
/// there are fewer, or the stream is malformed before; Error{unsupported} as read_gzip() does.
Bytes gzip_first(const core::Input& input, std::uint64_t wanted);

/// The file as one member, by its header and the checksum and size at its end. Throws Error{corrupt} when these do not
/// fit the file, and Error{unsupported} for flags that the RFC reserves. What inflates it finds out whether it is one
/// stream of that size: a file of several gzip members is not.
Member read_gzip(const core::Input& input);

}  // namespace heft::format
