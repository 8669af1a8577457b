// core/utf8.hpp: encoding of code points as UTF-8.
#pragma once

#include <cstdint>
#include <string>

namespace heft::core {

/// Appends `code`, which is below 2^21, as UTF-8. Surrogates are encoded as other code points are.
inline void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  const auto put_tail = [&](int shift) { put(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
    return put_tail(0);
  }
  if (code < 0x10000) {
    put(0xE0 | code >> 12);
  } else {
    put(0xF0 | code >> 18);
    put_tail(12);
  }
  put_tail(6);
  put_tail(0);
}

}  // namespace heft::core
