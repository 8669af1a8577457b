// Feeds any bytes to the reader of PyTorch's streams before 1.6: an Error or a sound catalog.
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  heft::format::ReadOptions options;
  options.limits.tensors = 10'000;  // legal, but slow, beyond
  options.limits.record_visits = 100'000;
  heft::test::is_read(heft::format::torch_legacy_format, {reinterpret_cast<const char*>(data), size}, options);
  return 0;
}
