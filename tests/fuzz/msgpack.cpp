// Feeds any bytes to the readers of MessagePack, Burn's and Flax's: an Error or a sound catalog.
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  heft::test::is_read(heft::format::burn_record_format, bytes);
  heft::test::is_read(heft::format::flax_format, bytes);
  return 0;
}
