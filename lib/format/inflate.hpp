// format/inflate.hpp: deflated bytes and checksums, the only user of libdeflate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

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

/// CRC-32 as in zip and gzip.
std::uint32_t crc32(std::span<const std::byte> bytes) noexcept;

}  // namespace heft::format
