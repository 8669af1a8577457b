// Saving when a call fails, and when the process is killed at any of its calls.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "heft/save.hpp"
#include "mmap/file.hpp"
#include "support/apart.hpp"
#include "support/faulty_write_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using heft::test::WriteCall;
using heft::test::WriteFaultPlan;

namespace {

namespace fs = std::filesystem;

// A checkpoint of two tensors of 64 bytes whose bytes are all `fill`.
std::vector<SaveItem> filled(std::int8_t fill) {
  const std::vector<std::int8_t> bytes(64, fill);
  std::vector<SaveItem> items;
  for (const char* name : {"a", "b"})
    items.emplace_back(TensorView::over(name, DType::i8, Shape{64}, Bytes::copy_of(std::as_bytes(std::span(bytes)))));
  return items;
}

// Returns the number that a checkpoint is filled with. Fails the test when it is not whole.
int fill_of(const Checkpoint& checkpoint) {
  CHECK(checkpoint.tensors().size() == 2);
  CHECK(checkpoint.verify_checksums().empty());
  std::optional<int> fill;
  for (const TensorView& view : checkpoint.tensors()) {
    CHECK(view.shape() == Shape{64});
    for (std::int64_t i = 0; i < 64; ++i) {
      const int value = view.read<std::int8_t>(i);
      if (!fill) fill = value;
      CHECK(value == *fill);
    }
  }
  return fill.value_or(-1);
}

constexpr std::uint64_t in_shards = 64;
constexpr std::uint64_t in_one_file = 0;

struct Case {
  const char* what;
  const char* file;
  std::uint64_t old_shard_bytes;
  std::uint64_t new_shard_bytes;
  bool no_unnamed = false;  // on a file system without unnamed files
};
constexpr Case cases[] = {
    {"a file over a file", "model.safetensors", in_one_file, in_one_file},
    {"shards over shards", "model.safetensors", in_shards, in_shards},
    {"shards over a file", "model.safetensors", in_one_file, in_shards},
    {"a file over shards", "model.safetensors", in_shards, in_one_file},
    {"an npz over an npz", "model.npz", in_one_file, in_one_file},
    {"a GGUF over a GGUF", "model.gguf", in_one_file, in_one_file},
    {"a file over a file, named", "model.safetensors", in_one_file, in_one_file, true},
    {"shards over shards, named", "model.safetensors", in_shards, in_shards, true},
};

void save_filled(const fs::path& folder, const Case& row, std::int8_t fill, std::uint64_t shard_bytes) {
  SaveOptions options;
  options.shard_bytes = shard_bytes;
  options.threads = 1;
  static_cast<void>(save(filled(fill), folder / row.file, options));
}

// The same of the checkpoint that a reader finds: safetensors by their folder, for there may be an index.
int fill_in(const fs::path& folder, const Case& row) {
  return fill_of(open(fs::path(row.file).extension() == ".safetensors" ? folder : folder / row.file));
}

constexpr const char* a_save = "save: one that is killed";

// A process that saves and is killed at call number `call`. True when it was, false when it finished before.
bool killed_at(std::uint64_t call, const fs::path& folder, const Case& row) {
  const test::Ended ended =
      test::run_apart(a_save, std::to_string(call) + ' ' + std::to_string(&row - cases) + ' ' + folder.string());
  if (ended.signal != 0) {
    CHECK(ended.signal == SIGKILL);
    return true;
  }
  CHECK(ended.status == 0);
  return false;
}

// A killed process leaves, as save.hpp says, shards, and hidden files only where files need names: else there is one
// while it is renamed. One that finished leaves nothing.
std::size_t check_remains(const fs::path& folder, const Case& row, bool killed) {
  std::size_t scratch = 0;
  for (const std::string& name : mmap::Folder::open(folder.string())->names()) {
    CAPTURE(name);
    const bool is_scratch = name.find(".heft-") != name.npos;
    CHECK((is_scratch ? name.starts_with(".model") : name.starts_with("model")));
    if (is_scratch) CHECK(name.size() == name.find(".heft-") + 6 + 16);
    scratch += is_scratch;
  }
  const std::size_t most = row.no_unnamed ? 3 : 1;  // two shards and an index
  CHECK(scratch <= (killed ? most : 0));
  return scratch;
}

}  // namespace

TEST_CASE("save: one that is killed" * doctest::skip()) {
  const auto task = test::task_apart();
  if (!task) return;
  std::istringstream words(*task);
  std::uint64_t call = 0;
  std::size_t number = 0;
  std::string folder;
  words >> call >> number >> folder;
  const Case& row = cases[number];
  const WriteFaultPlan plan({.skip = call, .times = 1, .kills = true, .no_unnamed = row.no_unnamed});
  save_filled(folder, row, 2, row.new_shard_bytes);
  ::_exit(0);
}

TEST_CASE("save: killed at any call it leaves the old checkpoint whole or the new one whole") {
  for (const Case& row : cases) {
    CAPTURE(row.what);
    bool new_seen = false;
    std::size_t with_scratch = 0;
    std::uint64_t call = 0;
    for (bool killed = true; killed; ++call) {
      CAPTURE(call);
      const test::TempFolder folder;
      save_filled(folder.path(), row, 1, row.old_shard_bytes);
      killed = killed_at(call, folder.path(), row);
      const int fill = fill_in(folder.path(), row);
      CHECK((fill == 1 || fill == 2));
      if (new_seen) CHECK(fill == 2);  // once the new one is there it stays
      new_seen = new_seen || fill == 2;
      if (!killed) CHECK(fill == 2);
      with_scratch += check_remains(folder.path(), row, killed) != 0;
      save_filled(folder.path(), row, 3, row.new_shard_bytes);
      CHECK(fill_in(folder.path(), row) == 3);
      CHECK(check_remains(folder.path(), row, false) == 0);
    }
    CHECK(new_seen);
    // Unnamed, one call of each file (the renaming) finds a scratch file in the folder.
    if (!row.no_unnamed) CHECK(with_scratch == (row.new_shard_bytes == in_shards ? 3 : 1));
    if (row.no_unnamed) CHECK(with_scratch > 4);
    CHECK(call > 8);
  }
}

namespace {

// A save of which call number `skip` of a kind fails: the old checkpoint stays, and nothing else.
void check_failure(const Case& row, WriteCall kind, std::uint64_t skip, int os_error) {
  const test::TempFolder folder;
  save_filled(folder.path(), row, 1, row.old_shard_bytes);
  const auto before = mmap::Folder::open(folder.path().string())->names();
  bool failed = false;
  try {
    const WriteFaultPlan plan(
        {.call = kind, .skip = skip, .times = 1, .os_error = os_error, .no_unnamed = row.no_unnamed});
    save_filled(folder.path(), row, 2, row.new_shard_bytes);
  } catch (const Error& error) {
    failed = true;
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.os_error() == os_error);
    CHECK(error.path().starts_with(folder.path().string()));
  }
  const int fill = fill_in(folder.path(), row);
  // The last fsync is of the folder, after the new checkpoint took its place: it stays, and the error says it may not
  // survive a power failure.
  if (!failed) CHECK(fill == 2);
  if (failed && kind != WriteCall::fsync) {
    CHECK(fill == 1);
    CHECK(mmap::Folder::open(folder.path().string())->names() == before);
  }
}

}  // namespace

TEST_CASE("save: a failure of any call before the new checkpoint is in place leaves the old one, and nothing else") {
  for (const Case& row : cases)
    for (const WriteCall kind :
         {WriteCall::create_unnamed, WriteCall::create, WriteCall::link, WriteCall::duplicate, WriteCall::fallocate,
          WriteCall::pwrite, WriteCall::fsync, WriteCall::close, WriteCall::rename})
      for (std::uint64_t skip = 0; skip < 4; ++skip)
        for (const int os_error : {ENOSPC, EIO, EDQUOT}) {
          CAPTURE(row.what);
          CAPTURE(static_cast<int>(kind));
          CAPTURE(skip);
          CAPTURE(os_error);
          check_failure(row, kind, skip, os_error);
        }
}
