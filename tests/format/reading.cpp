#include "format/reading.hpp"

#include <string>

#include "core/input.hpp"

namespace heft::test {

using format::Catalog;
using format::Format;

Catalog read(const Format& format, std::string_view bytes, const format::ReadOptions& options) {
  const core::MemoryInput input(Bytes::copy_of(std::as_bytes(std::span(bytes))));
  return format.read(input, options);
}

std::optional<Error> refusal(const Format& format, std::string_view bytes, const format::ReadOptions& options) {
  try {
    const Catalog catalog = read(format, bytes, options);
    check_in_bounds(catalog, bytes.size());
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

void check_refusals(const Format& format, std::span<const Hostile> rows) {
  for (const Hostile& row : rows) {
    CAPTURE(std::string(row.what));
    const auto error = refusal(format, row.file);
    REQUIRE(error);
    CAPTURE(std::string(error->what()));
    CHECK(name(error->code()) == name(row.code));
    CHECK(error->message().find(row.words) != std::string::npos);
    if (error->offset()) CHECK(*error->offset() <= row.file.size());
  }
}

void check_in_bounds(const Catalog& catalog, std::uint64_t file_size) {
  for (const format::TensorEntry& entry : catalog.tensors) {
    CAPTURE(std::string(entry.name));
    const bool inside =
        entry.member != format::none || (entry.begin <= file_size && entry.size <= file_size - entry.begin);
    CHECK(inside);
    CHECK(entry.dims + std::uint64_t{entry.rank} <= catalog.dims.size());
    if (entry.dtype == DType::unknown || (entry.flags & format::strided) != 0) continue;
    CHECK(bytes_for(entry.dtype, Shape(catalog.sizes(entry))) <= entry.size);
  }
}

void check_prefixes_refused(const Format& format, std::string_view file) {
  for (std::size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal(format, file.substr(0, size)));
  }
}

void check_flipped_bits(const Format& format, std::string_view file, std::size_t size) {
  std::string flipped(file);
  for (std::size_t bit = 0; bit < size * 8; ++bit) {
    CAPTURE(bit);
    const char mask = static_cast<char>(1 << (bit % 8));
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
    static_cast<void>(refusal(format, flipped));
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
  }
}

}  // namespace heft::test
