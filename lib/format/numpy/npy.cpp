// format/numpy/npy.cpp: reader of a file with one NumPy array. header.cpp reads the head.
#include <cstring>

#include "format/formats.hpp"
#include "format/numpy/header.hpp"

namespace heft::format {
namespace npy {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::string_view array_name = "arr_0";  // numpy.savez's name for an unnamed array
constexpr std::uint64_t head_chunk_bytes = 512;

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog(input.budget());
  catalog.format = "npy";
  // A small first chunk: most headers have 128 bytes.
  core::Cursor cursor(input, 0, input.size_bytes(), head_chunk_bytes);
  Header header = read_header(cursor, options.limits);
  RawItems raw(options.numpy.raw_items);
  raw.apply(header.type);
  raw.require_all_used();
  // The rest of the file belongs to the array; describe() notes what it does not need.
  catalog.tensors.push_back(describe(catalog, header, header.data, cursor.remaining(), array_name));
  return catalog;
}

}  // namespace
}  // namespace npy

const Format npy_format = {
    .name = "npy",
    .suffixes = ".npy",
    .family = Family::numpy,
    .reads =
        "versions 1 to 3, both byte orders, C and Fortran order; strings, dates and structures as raw bytes; no "
        "objects",
    .matches = npy::matches,
    .read = npy::read,
};

}  // namespace heft::format
