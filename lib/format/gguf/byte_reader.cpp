#include "format/gguf/byte_reader.hpp"

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft::format::gguf {

std::string_view ByteReader::name(std::string_view what) {
  const std::uint64_t at = offset();
  std::string_view name = string(what);
  // Some converters counted the NUL of a C string in its length.
  while (name.ends_with('\0')) name.remove_suffix(1);
  if (name.find('\0') != name.npos)
    throw Error(ErrorCode::ambiguous, fmt::format("{} '{}' has a NUL inside", what, core::escaped(name)),
                {.offset = at});
  return name;
}

std::uint64_t ByteReader::count(std::uint64_t min_bytes, std::string_view what) {
  const std::uint64_t declared = length(what);
  require_room(declared, min_bytes, what);
  return declared;
}

void ByteReader::require_room(std::uint64_t count, std::uint64_t min_bytes, std::string_view what) const {
  // Divided, because the product can overflow.
  if (count <= cursor_.remaining() / min_bytes) return;
  throw Error(ErrorCode::corrupt,
              fmt::format("{} is {}, expected at most {}: {} bytes remain and each takes {} or more: cut short by an "
                          "incomplete download, or damaged",
                          what, count, cursor_.remaining() / min_bytes, cursor_.remaining(), min_bytes),
              {.offset = offset()});
}

void ByteReader::refuse_string(std::uint64_t size, std::string_view what) const {
  throw Error(ErrorCode::corrupt,
              fmt::format("{} is a string of {} bytes, expected at most {}", what, size, max_string_bytes),
              {.offset = offset()});
}

}  // namespace heft::format::gguf
