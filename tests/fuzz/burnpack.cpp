// Feeds any bytes to the burnpack reader, and to it as the metadata of a whole file: an Error or a sound catalog.
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  heft::test::is_read(heft::format::burnpack_format, bytes);
  std::string file("NRUB\1\0\0\0\0\0", 10);
  const auto length = static_cast<std::uint32_t>(size);
  std::memcpy(file.data() + 6, &length, sizeof length);
  file.append(bytes).append(4096, '\0');
  heft::test::is_read(heft::format::burnpack_format, file);
  return 0;
}
