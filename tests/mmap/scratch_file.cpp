#include "mmap/scratch_file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "support/faulty_write_syscalls.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using heft::mmap::Folder;
using heft::mmap::ScratchFile;
using heft::test::WriteCall;
using heft::test::WriteFaultPlan;

namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::vector<std::string> names(const fs::path& folder) { return Folder::open(folder.string())->names(); }

void write_whole(const fs::path& path, std::string_view text) {
  ScratchFile file = ScratchFile::create(Folder::open(path.parent_path().string()), path.filename().string());
  file.reserve(text.size());
  file.write(0, bytes(text));
  file.sync();
  file.close();
  file.publish();
}

fs::perms permissions(const fs::path& path) { return fs::status(path).permissions(); }

}  // namespace

TEST_CASE("scratch file: has its name when it is published, and not before") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "model.safetensors");
  file.write(3, bytes("def"));
  file.write(0, bytes("abc"));
  CHECK_FALSE(fs::exists(path));
  REQUIRE(names(folder.path()).size() == 1);
  CHECK(names(folder.path())[0].starts_with(".model.safetensors.heft-"));
  file.close();
  file.publish();
  CHECK(test::content_of(path) == "abcdef");
  CHECK(names(folder.path()).size() == 1);
}

TEST_CASE("scratch file: one that is not published leaves nothing behind") {
  const test::TempFolder folder;
  {
    ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "a");
    ScratchFile moved = std::move(file);
    moved.write(0, bytes("abc"));
  }
  CHECK(names(folder.path()).empty());
}

TEST_CASE("scratch file: a new file has the permissions that the umask leaves, a replaced one keeps its own") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "a";
  const mode_t before = ::umask(027);
  write_whole(path, "new");
  CHECK(permissions(path) == fs::perms{0640});
  fs::permissions(path, fs::perms{0604});
  write_whole(path, "newer");
  ::umask(before);
  CHECK(permissions(path) == fs::perms{0604});
  CHECK(test::content_of(path) == "newer");
}

TEST_CASE("scratch file: replaces a symlink, not what it points at, and refuses a folder") {
  const test::TempFolder folder;
  const fs::path blob = folder.write("blob", std::string_view("old"));
  fs::create_symlink("blob", folder.path() / "link");
  fs::create_symlink("nowhere", folder.path() / "dangling");
  fs::create_directory(folder.path() / "folder");
  write_whole(folder.path() / "link", "new");
  CHECK(test::content_of(blob) == "old");
  CHECK(fs::is_regular_file(fs::symlink_status(folder.path() / "link")));
  write_whole(folder.path() / "dangling", "new");
  CHECK(fs::is_regular_file(fs::symlink_status(folder.path() / "dangling")));
  CHECK(test::thrown_by([&] { write_whole(folder.path() / "folder", "new"); }).code() == ErrorCode::refused);
}

TEST_CASE("scratch file: a name as long as names can be is written") {
  const test::TempFolder folder;
  const std::string name(255, 'n');
  write_whole(folder.path() / name, "abc");
  CHECK(test::content_of(folder.path() / name) == "abc");
}

TEST_CASE("scratch file: reserved bytes read as zeros, where the file system cannot reserve as well") {
  for (const int os_error : {0, EOPNOTSUPP}) {
    const test::TempFolder folder;
    const WriteFaultPlan plan({.call = WriteCall::fallocate, .times = os_error == 0 ? 0u : 1u, .os_error = os_error});
    ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "a");
    file.reserve(100);
    file.write(10, bytes("x"));
    file.close();
    file.publish();
    std::string expected(100, '\0');
    expected[10] = 'x';
    CHECK(test::content_of(folder.path() / "a") == expected);
  }
}

TEST_CASE("scratch file: short writes and interrupted calls are continued") {
  const test::TempFolder folder;
  {
    const WriteFaultPlan plan({.call = WriteCall::pwrite, .at_most = 1});
    write_whole(folder.path() / "a", "abcdef");
    CHECK(plan.calls().size() > 6);
  }
  for (const WriteCall call : {WriteCall::create, WriteCall::fchmod, WriteCall::fallocate, WriteCall::pwrite, WriteCall::fsync, WriteCall::close,
                               WriteCall::rename, WriteCall::getrandom}) {
    const WriteFaultPlan plan({.call = call, .times = 1, .os_error = EINTR});
    write_whole(folder.path() / "a", "ghi");
    CHECK(test::content_of(folder.path() / "a") == "ghi");
  }
}

TEST_CASE("scratch file: every call that fails is one Error with path and errno, and leaves the old file as it was") {
  const test::TempFolder folder;
  const fs::path path = folder.write("a", std::string_view("old"));
  for (const WriteCall call : {WriteCall::create, WriteCall::fchmod, WriteCall::fallocate, WriteCall::pwrite, WriteCall::fsync, WriteCall::close,
                               WriteCall::rename, WriteCall::getrandom}) {
    CAPTURE(static_cast<int>(call));
    const WriteFaultPlan plan({.call = call, .os_error = ENOSPC});
    const Error error = test::thrown_by([&] { write_whole(path, "new"); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.path() == path.string());
    CHECK(error.os_error() == ENOSPC);
    CHECK(test::content_of(path) == "old");
    CHECK(names(folder.path()) == std::vector<std::string>{"a"});
  }
}

TEST_CASE("scratch file: removing a file that is not there is no error, a folder that cannot be synced is one") {
  const test::TempFolder folder;
  const auto held = Folder::open(folder.path().string());
  CHECK_NOTHROW(mmap::remove_file(*held, "nothing"));
  CHECK_NOTHROW(mmap::sync_folder(*held));
  {
    const WriteFaultPlan plan({.call = WriteCall::fsync, .os_error = EINVAL});
    CHECK_NOTHROW(mmap::sync_folder(*held));
  }
  const WriteFaultPlan plan({.call = WriteCall::fsync, .os_error = EIO});
  CHECK(test::thrown_by([&] { mmap::sync_folder(*held); }).os_error() == EIO);
}
