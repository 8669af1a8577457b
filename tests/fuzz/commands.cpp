// Feeds any bytes, as a file, to the commands that print what a file says: whatever they write is printable, and their
// status is one of the three. The file's first byte chooses a name for it, so that paths are hostile too.
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

#include "cli/cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "support/printable.hpp"

namespace {

namespace fs = std::filesystem;
using namespace heft;

constexpr std::array<std::string_view, 4> names = {"model.bin", "a\x1b[31m\nb",
                                                   "\xC2\x9B"
                                                   "2J\xE2\x80\xAE.bin",
                                                   "\xFF\xFE.safetensors"};

// A folder of this process's own, which it removes when it ends.
class Scratch {
 public:
  Scratch() : folder_(fs::temp_directory_path() / ("heft-fuzz-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  [[nodiscard]] fs::path file(std::string_view name) const { return folder_ / name; }

 private:
  fs::path folder_;
};

void require_clean(std::initializer_list<std::string> words) {
  const test::CliRun run = test::heft_command(words);
  test::require_printable(run.out, "the output", test::Lines::many);
  test::require_printable(run.err, "the error stream", test::Lines::many);
  if (run.status < 0 || run.status > 2) throw std::logic_error("a status that no command has");
}

// The first tensor's name, if the file can be read.
std::string first_name(const std::string& path) {
  try {
    const Checkpoint checkpoint = open(path);
    if (checkpoint.tensors().empty()) return {};
    const TensorView first = checkpoint.tensors()[0];
    return std::string(first.name());
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch;
  if (size == 0) return 0;
  const fs::path file = scratch.file(names[data[0] % names.size()]);
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const std::string path = file.string();
  require_clean({"ls", path});
  require_clean({"ls", "--json", path});
  require_clean({"tree", path});
  require_clean({"tree", "--json", path});
  require_clean({"tree", "--metadata", path});
  require_clean({"diff", path, path});
  require_clean({"show", path, first_name(path)});
  fs::remove(file);
  return 0;
}
