// Feeds any bytes to the CTranslate2 reader: an Error or a sound catalog.
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  heft::test::is_read(heft::format::ctranslate2_format, {reinterpret_cast<const char*>(data), size});
  return 0;
}
