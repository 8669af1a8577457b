// Pickles of NumPy's arrays, and of bytes as text in protocol 2.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "support/pickle_builder.hpp"

namespace heft::test::pickle {

/// Returns the UTF-8 of a text whose characters are the bytes.
inline std::string latin1_text(std::string_view bytes) {
  std::string utf8;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      utf8 += c;
    else
      utf8 += {static_cast<char>(0xC0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3F))};
  }
  return utf8;
}
/// Returns _codecs.encode(text, 'latin1') of a text in UTF-8.
inline std::string encoded(std::string_view utf8) { return call("_codecs", "encode", {text(utf8), text("latin1")}); }
inline std::string spelled_bytes(std::string_view bytes) { return encoded(latin1_text(bytes)); }

/// Returns the numpy.dtype of a code such as "f4".
inline std::string numpy_dtype(const std::string& code, const std::string& order = "<") {
  return call("numpy", "dtype", {text(code), "\x89", "\x88"}) +
         tuple({integer(3), text(order), "N", "N", "N", integer(-1), integer(-1), integer(0)}) + "b";
}
/// Returns an array whose bytes are the pickled value `data`.
inline std::string numpy_array(const std::vector<int>& shape, const std::string& dtype, const std::string& data,
                               bool fortran = false) {
  return call("numpy._core.multiarray", "_reconstruct", {global("numpy", "ndarray"), integers({0}), bytes("b")}) +
         tuple({integer(1), integers(shape), dtype, fortran ? "\x88" : "\x89", data}) + "b";
}

}  // namespace heft::test::pickle
