// format/archive/inflate.hpp: deflated bytes and checksums, the only user of libdeflate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "format/catalog.hpp"
#include "heft/bytes.hpp"

namespace heft::format {

/// What deflate cannot exceed: bytes out for a byte in. A declared size beyond it is a lie, found before anything is
/// allocated.
inline constexpr std::uint64_t deflate_max_ratio = 1032;

/// Inflates a raw deflate stream into exactly `out`.
///
/// Throws Error{corrupt} when the stream is malformed, does not end at the end of `deflated`, or holds more or fewer
/// bytes than `out`; `what` names it in the sentence. Never writes outside `out`.
void inflate_into(std::span<const std::byte> deflated, std::span<std::byte> out, std::string_view what);

/// The same into memory of its own. Throws Error{limit_exceeded} when `full_size` is over `max_ratio` times the
/// deflated size, and Error{out_of_memory}.
Bytes inflate(std::span<const std::byte> deflated, std::uint64_t full_size, std::uint64_t max_ratio,
              std::string_view what);

/// Throws Error{limit_exceeded} when a member's declared size is over `max_ratio` times the deflated one; `what` names it.
void require_ratio(const Member& member, std::uint64_t max_ratio, std::string_view what);

/// Deflated bytes that are enough for the first `wanted` inflated ones, unless the stream was made to waste room.
std::uint64_t deflated_bytes_for(std::uint64_t wanted) noexcept;

/// The first `wanted` of the `full_size` bytes that a stream inflates to; `deflated` may be only its begin. Costs as much as inflating
/// `wanted` + 65535 bytes. Nothing is checked beyond what is returned: the whole is, when it is inflated.
///
/// Throws Error{corrupt} when the stream is malformed or shorter. Precondition: wanted <= full_size.
Bytes inflate_first(std::span<const std::byte> deflated, std::uint64_t wanted, std::uint64_t full_size,
                    std::string_view what);

/// CRC-32 as in zip and gzip. `before` is that of the bytes before these, when they come in parts.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace heft::format
