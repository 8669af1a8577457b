// Every Error that leaves a call on a checkpoint names the file: what() starts with its path. Tried on every input that
// a fuzzer once found, on the fixtures, and on the situations that users reported.
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/text.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "heft/save.hpp"
#include "heft/stream.hpp"
#include "support/fixtures.hpp"
#include "support/pickle_builder.hpp"
#include "support/printable.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using test::TempFolder;
using test::thrown_by;

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t max_loaded_bytes = 1u << 20;

struct Tally {
  std::size_t files = 0;
  std::size_t errors = 0;
};

void check_names_file(const Error& error, const fs::path& path) {
  CAPTURE(path.string());
  CAPTURE(error.what());
  CHECK(!error.path().empty());
  CHECK(std::string_view(error.what()).starts_with(core::escaped(error.path(), 1000) + ": "));
  CHECK(test::unprintable_at(error.what()) == std::string_view::npos);
  CHECK(std::string_view(error.what()).size() > error.path().size() + 2);
}

// Runs `call`; an Error of it must name a file.
bool runs(const fs::path& path, Tally& tally, const std::function<void()>& call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    ++tally.errors;
    check_names_file(error, path);
    return false;
  }
}

void load_all(const Checkpoint& checkpoint, const fs::path& path, const fs::path& scratch, Tally& tally) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) {
    std::uint64_t size = 0;
    if (!runs(path, tally, [&] { size = view.size_bytes(); })) continue;
    if (size > max_loaded_bytes || plan.estimate().bytes_written > max_loaded_bytes) continue;
    runs(path, tally, [&] { static_cast<void>(view.bytes()); });
    runs(path, tally, [&] { static_cast<void>(view.as<float>()); });
    runs(path, tally, [&] { static_cast<void>(view.slice(0, 0, 1)); });
    runs(path, tally, [&] { plan.add(view); });
  }
  runs(path, tally, [&] { static_cast<void>(materialize(plan)); });
  for (const char* name : {"o.safetensors", "o.npz", "o.gguf"})
    if (plan.estimate().bytes_written <= max_loaded_bytes)
      runs(path, tally, [&] { static_cast<void>(save(checkpoint, scratch / name)); });
  runs(path, tally, [&] { static_cast<void>(checkpoint.root()["no such key"]); });
  runs(path, tally, [&] { static_cast<void>(checkpoint.tensor("no such tensor")); });
  runs(path, tally, [&] { static_cast<void>(checkpoint.verify_checksums()); });
}

void try_file(const fs::path& path, const fs::path& scratch, Tally& tally) {
  ++tally.files;
  runs(path, tally, [&] { load_all(open(path), path, scratch, tally); });
}

Tally try_folder(const fs::path& folder) {
  const TempFolder scratch;
  Tally tally;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.file_size() <= max_loaded_bytes) try_file(entry.path(), scratch.path(), tally);
  return tally;
}

}  // namespace

TEST_CASE("errors: every Error of a file that a fuzzer found names the file") {
  const Tally tally = try_folder(test::source_root() / "tests" / "fuzz" / "corpus");
  CHECK(tally.files >= 300);
  CHECK(tally.errors >= 300);
}

TEST_CASE("errors: every Error of a reported situation names the file") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  CHECK(try_folder(*folder).errors > 0);
}

TEST_CASE("errors: every Error of a fixture names the file") {
  const auto folder = test::fixtures("");
  if (!folder) return;
  CHECK(try_folder(*folder).files > 0);
}

TEST_CASE("errors: the text of the system's error is written once") {
  const TempFolder folder;
  const std::string absent = (folder.path() / "absent").string();
  CHECK(std::string(thrown_by([&] { return open(absent); }).what()) == absent + ": No such file or directory");
  const Error below = thrown_by([&] { return open(folder.write("file", "x") / "below"); });
  CHECK(std::string(below.what()).ends_with(": Not a directory"));
  CHECK(below.code() == ErrorCode::not_found);
  CHECK(below.os_error() == ENOTDIR);
}

TEST_CASE("errors: a limit is called by its name in Limits, a bound of the format is not called one") {
  const TempFolder folder;
  OpenOptions options;
  options.limits.tensors = 1;
  test::SafetensorsBuilder builder;
  builder.add("a", "U8", {1}, "x").add("b", "U8", {1}, "y");
  const std::string path = folder.write("m.safetensors", builder.build()).string();
  CHECK(std::string(thrown_by([&] { return open(path, options); }).what()).find("Limits::tensors = 1") !=
        std::string::npos);
  // A mark of a PyTorch file: 100 bytes where 64 are read.
  test::ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = test::pickle::proto() + test::pickle::dict({}) + "."});
  zip.add("archive/version", std::string(100, '3'));
  const Error mark = thrown_by([&] { return open(folder.write("m.pt", zip.build())); });
  CHECK(mark.code() == ErrorCode::limit_exceeded);
  CHECK(std::string(mark.what()).find("'archive/version': 100 is over the 64 that heft reads") != std::string::npos);
  CHECK(std::string(mark.what()).find("Limits::") == std::string::npos);
}

TEST_CASE("errors: of an archive with two folders, the record outside the first one is named") {
  const TempFolder folder;
  test::ZipBuilder zip;
  zip.add({.name = "a/data.pkl", .content = test::pickle::proto() + test::pickle::dict({}) + "."});
  zip.add("b/version", "3\n");
  const std::string what = thrown_by([&] { return open(folder.write("two.pt", zip.build())); }).what();
  CHECK(what.find("'b/version': expected all records in the folder of the first, 'a'") != std::string::npos);
}
