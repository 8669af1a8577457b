// Saving when a call fails, and when the process is killed at any of its calls.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "heft/save.hpp"
#include "mmap/file.hpp"
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
std::vector<SaveItem> filled(std::uint8_t fill) {
  const std::vector<std::uint8_t> bytes(64, fill);
  std::vector<SaveItem> items;
  for (const char* name : {"a", "b"}) items.emplace_back(TensorView::over(name, DType::u8, Shape{64}, Bytes::copy_of(std::as_bytes(std::span(bytes)))));
  return items;
}

// What the checkpoint in `folder` is filled with. Fails the test when it is not whole.
int fill_of(const fs::path& folder) {
  const Checkpoint checkpoint = open(folder);
  CHECK(checkpoint.tensors().count() == 2);
  std::optional<int> fill;
  for (const TensorView& view : checkpoint.tensors()) {
    CHECK(view.shape() == Shape{64});
    for (std::int64_t i = 0; i < 64; ++i) {
      const int value = view.read<std::uint8_t>(i);
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
  std::uint64_t old_shard_bytes;
  std::uint64_t new_shard_bytes;
};
constexpr Case cases[] = {
    {"a file over a file", in_one_file, in_one_file},
    {"shards over shards", in_shards, in_shards},
    {"shards over a file", in_one_file, in_shards},
    {"a file over shards", in_shards, in_one_file},
};

void save_filled(const fs::path& folder, std::uint8_t fill, std::uint64_t shard_bytes) {
  SaveOptions options;
  options.shard_bytes = shard_bytes;
  options.threads = 1;
  static_cast<void>(save(filled(fill), folder / "model.safetensors", options));
}

// A process that saves and is killed at call number `call`. True when it was, false when it finished before.
bool killed_at(std::uint64_t call, const fs::path& folder, std::uint64_t shard_bytes) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const WriteFaultPlan plan({.skip = call, .times = 1, .kills = true});
    save_filled(folder, 2, shard_bytes);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status);
}

}  // namespace

TEST_CASE("save: killed at any call it leaves the old checkpoint whole or the new one whole") {
#if defined(__SANITIZE_THREAD__)
  test::skip("a process forked under TSan cannot start threads");
  return;
#endif
  for (const Case& row : cases) {
    CAPTURE(row.what);
    bool new_seen = false;
    std::uint64_t call = 0;
    for (bool killed = true; killed; ++call) {
      CAPTURE(call);
      const test::TempFolder folder;
      save_filled(folder.path(), 1, row.old_shard_bytes);
      killed = killed_at(call, folder.path(), row.new_shard_bytes);
      const int fill = fill_of(folder.path());
      CHECK((fill == 1 || fill == 2));
      if (new_seen) CHECK(fill == 2);  // once the new one is there it stays
      new_seen = new_seen || fill == 2;
      if (!killed) CHECK(fill == 2);
    }
    CHECK(new_seen);
    CHECK(call > 8);
  }
}

TEST_CASE("save: a failure of any call before the new checkpoint is in place leaves the old one, and nothing else") {
  for (const Case& row : cases) {
    for (const WriteCall kind : {WriteCall::create, WriteCall::fallocate, WriteCall::pwrite, WriteCall::fsync, WriteCall::close, WriteCall::rename}) {
      for (std::uint64_t skip = 0; skip < 3; ++skip) {
        CAPTURE(row.what);
        CAPTURE(static_cast<int>(kind));
        CAPTURE(skip);
        const test::TempFolder folder;
        save_filled(folder.path(), 1, row.old_shard_bytes);
        const auto before = mmap::Folder::open(folder.path().string())->names();
        bool failed = false;
        try {
          const WriteFaultPlan plan({.call = kind, .skip = skip, .times = 1, .os_error = ENOSPC});
          save_filled(folder.path(), 2, row.new_shard_bytes);
        } catch (const Error& error) {
          failed = true;
          CHECK(error.code() == ErrorCode::io);
          CHECK(error.os_error() == ENOSPC);
          CHECK(error.path().starts_with(folder.path().string()));
        }
        const int fill = fill_of(folder.path());
        // The last fsync is of the folder, after the new checkpoint took its place: it stays, and the error says it may not survive a power failure.
        if (!failed) CHECK(fill == 2);
        if (failed && kind != WriteCall::fsync) {
          CHECK(fill == 1);
          CHECK(mmap::Folder::open(folder.path().string())->names() == before);
        }
      }
    }
  }
}
