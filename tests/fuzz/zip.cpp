// Feeds any bytes to the zip directory and to PyTorch's zips: an Error, or records that can be read and a sound
// catalog.
#include <numeric>
#include <stdexcept>
#include <vector>

#include "format/archive/zip_directory.hpp"
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"

using namespace heft;

namespace {

format::ReadOptions small_limits() {
  format::ReadOptions options;
  options.limits.tensors = 10'000;  // legal, but slow, beyond
  options.limits.record_visits = 100'000;
  options.limits.inflated_bytes = 1u << 20;
  return options;
}

void read_all(std::string_view bytes) {
  const core::MemoryInput input(test::exact_bytes(bytes));
  format::ZipDirectory zip = format::read_zip(input, {});
  std::vector<std::uint32_t> all(zip.entries.size());
  std::iota(all.begin(), all.end(), 0u);
  format::locate(input, zip, all);
  for (const format::ZipEntry& entry : zip.entries) {
    if (zip.find(entry.name) == format::none) throw std::logic_error("an entry that is not found");
    static_cast<void>(format::read_entry(input, entry, 1u << 20, "inflated_bytes", 1032));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    read_all(bytes);
  } catch (const Error& error) {
    test::check_words(error);
  }
  test::is_read(format::torch_zip_format, bytes, small_limits());
  return 0;
}
