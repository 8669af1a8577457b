#include "format/archive/inflate.hpp"

#include <fmt/format.h>
#include <libdeflate.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "core/allocate.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

// The maximum number of bytes that one step of a deflate stream writes: those of a stored block.
constexpr std::uint64_t max_step = 65535;

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* decompressor) const noexcept { libdeflate_free_decompressor(decompressor); }
};
using Decompressor = std::unique_ptr<libdeflate_decompressor, FreeDecompressor>;

// Allocates an inflater for one call: libdeflate's has some 10 KiB of tables and no state between streams.
Decompressor make_decompressor() {
  Decompressor decompressor(libdeflate_alloc_decompressor());
  if (!decompressor) throw Error(ErrorCode::out_of_memory, "no memory for an inflater");
  return decompressor;
}

[[noreturn]] void corrupt(std::string_view what, std::string_view finding) {
  throw Error(ErrorCode::corrupt, fmt::format("{}: {}", core::escaped(what), finding));
}

std::shared_ptr<std::byte[]> allocate(std::uint64_t size, std::string_view what) {
  return core::allocate_bytes(size, fmt::format("to inflate {} into", core::escaped(what)));
}

}  // namespace

void inflate_into(std::span<const std::byte> deflated, std::span<std::byte> out, std::string_view what) {
  const Decompressor decompressor = make_decompressor();
  std::size_t used = 0;
  std::size_t written = 0;
  // The _ex call reports how many deflated bytes were used. Without that, bytes after the end of the stream would
  // pass.
  const libdeflate_result result = libdeflate_deflate_decompress_ex(
      decompressor.get(), deflated.data(), deflated.size(), out.data(), out.size(), &used, &written);
  if (result == LIBDEFLATE_INSUFFICIENT_SPACE)
    corrupt(what, fmt::format("expected {} inflated bytes, the deflate stream holds more", out.size()));
  if (result != LIBDEFLATE_SUCCESS) corrupt(what, "malformed deflate stream");
  if (written != out.size())
    corrupt(what, fmt::format("expected {} inflated bytes, the deflate stream holds {}", out.size(), written));
  if (used != deflated.size())
    corrupt(what, fmt::format("expected a deflate stream of {} bytes, it ends after {}", deflated.size(), used));
}

void require_ratio(std::uint64_t full_size, std::uint64_t deflated_size, std::uint64_t max_ratio,
                   std::string_view what) {
  // Divides, because the product can overflow. Even an empty stream has two bytes.
  const std::uint64_t ratio = std::min(max_ratio, deflate_max_ratio);
  if (ratio == 0 || full_size / ratio > deflated_size)
    throw Error(ErrorCode::limit_exceeded,
                fmt::format("{}: {} bytes inflated from {} are over Limits::inflate_ratio = {}", core::escaped(what),
                            full_size, deflated_size, ratio));
}

Bytes inflate(std::span<const std::byte> deflated, std::uint64_t full_size, std::uint64_t max_ratio,
              std::string_view what) {
  require_ratio(full_size, deflated.size(), max_ratio, what);
  std::shared_ptr<std::byte[]> memory = allocate(full_size, what);
  const std::span<std::byte> out(memory.get(), static_cast<std::size_t>(full_size));
  inflate_into(deflated, out, what);
  return Bytes(out, std::move(memory));
}

std::uint64_t deflated_bytes_for(std::uint64_t wanted) noexcept {
  // Incompressible data grow by 5 bytes for each stored block, of which zlib's have at least 16 KiB.
  const std::uint64_t plain = wanted + max_step;
  return plain + plain / 1024 + 1024;
}

Bytes inflate_first(std::span<const std::byte> deflated, std::uint64_t wanted, std::uint64_t full_size,
                    std::string_view what) {
  // Room for one step more than is wanted: when the room ends, libdeflate has written all steps that fit and does not
  // report how many bytes these were.
  const std::uint64_t room = full_size - wanted > max_step ? wanted + max_step : full_size;
  const std::shared_ptr<std::byte[]> memory = allocate(room, what);
  std::size_t written = 0;
  const libdeflate_result result = libdeflate_deflate_decompress(make_decompressor().get(), deflated.data(),
                                                                 deflated.size(), memory.get(), room, &written);
  // If the room did not suffice, all steps before the last were written, in order.
  if (result == LIBDEFLATE_INSUFFICIENT_SPACE && room < full_size)
    written = room - max_step;
  else if (result != LIBDEFLATE_SUCCESS)
    corrupt(what, "malformed deflate stream");
  if (written < wanted)
    corrupt(what, fmt::format("expected {} inflated bytes, the deflate stream holds fewer", full_size));
  return Bytes({memory.get(), static_cast<std::size_t>(wanted)}, memory);
}

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  // libdeflate_crc32() starts from 0 and inverts inside, so that its result is the start of the next part.
  return libdeflate_crc32(before, bytes.data(), bytes.size());
}

}  // namespace heft::format
