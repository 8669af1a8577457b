// format/archive/gzip.cpp: the layout of a gzip file:
//
//   1f 8b 08 | u8 flags | u32 time | u8 extra flags | u8 system
//   FEXTRA: u16 bytes, bytes | FNAME: text, NUL | FCOMMENT: text, NUL | FHCRC: u16
//   deflate stream | u32 CRC-32 | u32 inflated bytes, modulo 2^32
#include "format/archive/gzip.hpp"

#include <fmt/format.h>

#include "core/cursor.hpp"
#include "core/endian.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/inflate_stream.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

enum Flag : unsigned { has_header_crc = 2, has_extra = 4, has_name = 8, has_comment = 16, reserved = 0xE0 };

constexpr std::uint64_t head_bytes = 512;
constexpr std::uint64_t trailer_bytes = 8;
constexpr std::uint64_t max_text_bytes = 4096;

// Skips a text that ends with NUL. Its length is not declared, so it is bounded here.
void skip_text(core::Cursor& cursor, std::string_view what) {
  const std::uint64_t at = cursor.offset();
  for (std::uint64_t size = 0; size < max_text_bytes; ++size)
    if (cursor.u8(what) == 0) return;
  throw Error(ErrorCode::corrupt, fmt::format("expected {} of at most {} bytes", what, max_text_bytes), {.offset = at});
}

// Moves the cursor from the first byte to the deflate stream, past the optional fields in the order of RFC 1952.
void skip_header(core::Cursor& cursor) {
  cursor.skip(3, "gzip's magic");
  const unsigned flags = cursor.u8("gzip's flags");
  // RFC 1952, 2.3.1.2: a reader must refuse reserved bits, because each can announce a field of unknown length before
  // the stream.
  if ((flags & reserved) != 0)
    throw Error(ErrorCode::unsupported,
                fmt::format("gzip's flags {:02x}, expected none of those that are reserved", flags), {.offset = 3});
  // Time, extra flags and system do not change the contents.
  cursor.skip(6, "gzip's header");
  if ((flags & has_extra) != 0) cursor.skip(cursor.little<std::uint16_t>("gzip's extra field"), "gzip's extra field");
  if ((flags & has_name) != 0) skip_text(cursor, "gzip's file name");
  if ((flags & has_comment) != 0) skip_text(cursor, "gzip's comment");
  if ((flags & has_header_crc) != 0) cursor.skip(2, "gzip's header checksum");
}

}  // namespace

bool is_gzip(std::span<const std::byte> head) noexcept {
  constexpr std::size_t extra_flags_at = 8;  // the compression level: 2 or 4
  constexpr std::byte max_extra_flags{8};
  return head.size() >= 3 && head[0] == std::byte{0x1F} && head[1] == std::byte{0x8B} && head[2] == std::byte{8} &&
         (head.size() <= extra_flags_at || head[extra_flags_at] <= max_extra_flags);
}

Bytes gzip_first(const core::Input& input, std::uint64_t wanted) {
  // The size in the trailer is not read here: `input` can be the head of a file. Reading stops after `wanted` bytes,
  // so a declared size that no file reaches only has to be large enough.
  constexpr std::uint64_t any_size = std::uint64_t{1} << 40;
  core::Cursor cursor(input, 0, input.size_bytes(), head_bytes);
  skip_header(cursor);
  const InflatedInput content(input, {.begin = cursor.offset(), .size = cursor.remaining(), .full_size = any_size},
                              "gzip");
  return content.read(0, wanted);
}

Member read_gzip(const core::Input& input) {
  core::Cursor cursor(input, 0, input.size_bytes(), head_bytes);
  skip_header(cursor);
  if (cursor.remaining() < trailer_bytes)
    throw Error(ErrorCode::corrupt, "expected gzip's checksum and size at the end", {.offset = cursor.offset()});
  Member member{.begin = cursor.offset(), .size = cursor.remaining() - trailer_bytes, .name = "gzip"};
  const Bytes trailer = input.read(input.size_bytes() - trailer_bytes, trailer_bytes);
  // The trailer has the size modulo 2^32, so it is wrong for files of 4 GiB or more, and it is that of the last
  // member of a file that has several.
  member.crc32 = core::load_le<std::uint32_t>(trailer.data());
  member.full_size = core::load_le<std::uint32_t>(trailer.data() + 4);
  // Deflated bytes are read into memory, so their number must be in proportion to the declared size.
  if (member.size > deflated_bytes_for(member.full_size))
    throw Error(
        ErrorCode::corrupt,
        fmt::format("gzip: {} deflated bytes for {} inflated ones; several members, or over 4 GiB, are not read",
                    member.size, member.full_size),
        {.offset = member.begin});
  return member;
}

}  // namespace heft::format
