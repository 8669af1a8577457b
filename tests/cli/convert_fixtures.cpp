// Every file of the fixtures that heft opens is converted to every format that heft writes. What the format can hold
// comes out equal, by `heft diff`; the rest is refused by name, and nothing is left behind.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli_run.hpp"
#include "core/text.hpp"
#include "format/format.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/plan.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::TempFolder;

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> loadable(const fs::path& root) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.file_size() > 64u << 20) continue;
    try {
      static_cast<void>(heft::open(entry.path()));
      paths.push_back(entry.path());
    } catch (const heft::Error&) {
      continue;  // a hostile one, or no checkpoint at all
    }
  }
  std::ranges::sort(paths);
  return paths;
}

struct Target {
  explicit Target(const heft::format::Format& format)
      : suffix(format.suffixes.substr(0, format.suffixes.find(' '))), layout(format.writer->layout({}, {}, notes)) {}

  std::vector<std::string> notes;
  std::string suffix;
  heft::format::FileLayout layout;
};

std::vector<Target> targets() {
  std::vector<Target> written;
  for (const heft::format::Format* format : heft::format::formats())
    if (format->writer != nullptr) written.emplace_back(*format);
  return written;
}

// Why the format cannot hold the checkpoint, or nothing when it can.
std::optional<heft::Error> obstacle(const heft::Checkpoint& source, const Target& target, std::uint64_t room) {
  std::vector<heft::format::TensorDeclaration> tensors;
  try {
    heft::LoadPlan readable;
    for (const heft::TensorView& view : source.tensors()) {
      readable.add(view);  // not for a tensor without data, or of a dtype that has no bytes of its own
      tensors.push_back({std::string(view.name()), view.dtype(), view.shape()});
    }
    // A tensor of 20 bytes, shown as 4 TiB by strides of 0, is legal.
    if (target.layout(tensors).size_bytes > room) return heft::Error(heft::ErrorCode::io, "no room");
    return std::nullopt;
  } catch (const heft::Error& error) {
    return error;
  }
}

// The message without what changes from file to file, to be counted.
std::string kind_of(const heft::Error& error) {
  const std::string message = error.message();
  return message.substr(0, message.find(';'));
}

}  // namespace

TEST_CASE(
    "convert: every fixture comes out equal in every format that can hold it, and is refused by name in the others") {
  const auto root = heft::test::fixtures("");
  if (!root) return;
  const std::vector<fs::path> sources = loadable(*root);
  CHECK(sources.size() > 100);
  std::size_t equal_in_all = 0;
  for (const Target& target : targets()) {
    CAPTURE(target.suffix);
    const TempFolder folder;
    const std::string path = (folder.path() / ("copy" + target.suffix)).string();
    std::size_t equal = 0;
    std::map<std::string, std::size_t> refused;
    for (const fs::path& source : sources) {
      CAPTURE(source.string());
      const std::optional<heft::Error> expected =
          obstacle(heft::open(source), target, fs::space(folder.path()).available);
      const CliRun run = heft_command({"convert", source.string(), path});
      CAPTURE(run.err);
      if (expected) {
        CHECK(run.status == 2);
        if (!expected->tensor().empty())
          CHECK(run.err.find(heft::core::escaped(expected->tensor()).substr(0, 20)) != std::string::npos);
        CHECK_FALSE(fs::exists(path));
        ++refused[kind_of(*expected)];
      } else {
        CHECK(run.status == 0);
        CHECK(heft_command({"diff", source.string(), path}).status == 0);
        ++equal;
      }
      fs::remove(path);
      CHECK(fs::directory_iterator(folder.path()) == fs::directory_iterator());
    }
    CHECK(equal > 0);
    equal_in_all += equal;
    std::string summary =
        std::to_string(equal) + " of " + std::to_string(sources.size()) + " fixtures equal as " + target.suffix;
    for (const auto& [why, count] : refused) summary += "\n  " + std::to_string(count) + " refused: " + why;
    MESSAGE(summary);
  }
  CHECK(equal_in_all > sources.size());
}
