// gzip: one member with a record of value lists, as written by Burn's gzip recorders.
#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>
#include <libdeflate.h>

#include "maker/output.hpp"
#include "maker/writers.hpp"

namespace bench {

namespace {

namespace fs = std::filesystem;

constexpr int usual_level = 6;

std::vector<std::byte> content_of(const fs::path& path) {
  std::vector<std::byte> bytes(fs::file_size(path));
  std::ifstream in(path, std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
    throw std::runtime_error(fmt::format("{}: cannot be read", path.string()));
  return bytes;
}

std::vector<std::byte> compressed(std::span<const std::byte> plain) {
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(usual_level), libdeflate_free_compressor);
  if (!compressor) throw std::bad_alloc();
  std::vector<std::byte> packed(libdeflate_gzip_compress_bound(compressor.get(), plain.size()));
  packed.resize(libdeflate_gzip_compress(compressor.get(), plain.data(), plain.size(), packed.data(), packed.size()));
  return packed;
}

}  // namespace

void write_burn_lists_gzip(const Model& model, const fs::path& path, Progress& progress) {
  const fs::path plain = fs::path(path).concat(".plain");
  write_burn_lists(model, plain, progress);
  const std::vector<std::byte> packed = compressed(content_of(plain));
  fs::remove(plain);
  Output out(path, progress);
  out.append(packed);
  out.commit();
}

}  // namespace bench
