// format/archive/inflate.hpp: inflating whole streams and checksums; the only user of libdeflate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "heft/bytes.hpp"

namespace heft::format {

/// The maximum ratio of inflated to deflated bytes. A declared size over it is refused before memory is allocated.
inline constexpr std::uint64_t deflate_max_ratio = 1032;

/// Inflates a raw deflate stream into exactly `out`.
///
/// Throws Error{corrupt} if the stream is malformed, does not end at the end of `deflated`, or has more or fewer bytes
/// than `out`; `what` names it in the message. Never writes outside `out`.
void inflate_into(std::span<const std::byte> deflated, std::span<std::byte> out, std::string_view what);

/// The same into newly allocated memory. Throws Error{limit_exceeded} if `full_size` is over `max_ratio` times the
/// deflated size, and Error{out_of_memory}.
Bytes inflate(std::span<const std::byte> deflated, std::uint64_t full_size, std::uint64_t max_ratio,
              std::string_view what);

/// Throws Error{limit_exceeded} if a declared size is over `max_ratio` times the deflated one; `what` names the stream.
void require_ratio(std::uint64_t full_size, std::uint64_t deflated_size, std::uint64_t max_ratio,
                   std::string_view what);

/// Returns the number of deflated bytes that suffice for the first `wanted` inflated ones of any ordinary stream.
std::uint64_t deflated_bytes_for(std::uint64_t wanted) noexcept;

/// Returns the first `wanted` of the `full_size` bytes that a stream inflates to; `deflated` can be a prefix of the
/// stream. Costs as much as inflating `wanted` + 65535 bytes. Bytes after the returned ones are not checked.
///
/// Throws Error{corrupt} if the stream is malformed or shorter. Requires wanted <= full_size.
Bytes inflate_first(std::span<const std::byte> deflated, std::uint64_t wanted, std::uint64_t full_size,
                    std::string_view what);

/// Returns the CRC-32 as in zip and gzip. `before` is the CRC-32 of preceding bytes, to compute it in parts.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace heft::format
