// Feeds every file of the folders named on the command line to the fuzz target it is linked with, so that what a fuzzer
// once found stays found. Each input lies in a buffer of exactly its size: a sanitizer sees the first byte read too
// far.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

void feed(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto exact = std::make_unique<std::uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

std::size_t feed_folder(const fs::path& folder) {
  std::size_t fed = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    feed(entry.path());
    ++fed;
  }
  return fed;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t fed = 0;
  for (int i = 1; i < argc; ++i) fed += feed_folder(argv[i]);
  std::printf("%zu inputs replayed\n", fed);
  return fed > 0 ? 0 : 1;  // a corpus that is not found is no corpus that passes
}
