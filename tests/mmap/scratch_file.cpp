#include "mmap/scratch_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mmap/unique_number.hpp"
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

// Returns the notes.
std::vector<std::string> write_whole(const fs::path& path, std::string_view text) {
  ScratchFile file = ScratchFile::create(Folder::open(path.parent_path().string()), path.filename().string());
  file.reserve(text.size());
  file.write(0, bytes(text));
  file.sync();
  file.finish();
  file.publish();
  return file.notes();
}

// In force until it dies.
class Umask {
 public:
  explicit Umask(::mode_t bits) noexcept : before_(::umask(bits)) {}
  ~Umask() { ::umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  ::mode_t before_;
};

constexpr WriteCall calls_of_a_file[] = {
    WriteCall::create_unnamed, WriteCall::create,    WriteCall::link,      WriteCall::duplicate,
    WriteCall::fchmod,         WriteCall::fallocate, WriteCall::pwrite,    WriteCall::fsync,
    WriteCall::close,          WriteCall::rename,    WriteCall::getrandom,
};

fs::perms permissions(const fs::path& path) { return fs::status(path).permissions(); }

}  // namespace

TEST_CASE("scratch file: has no name until it is published") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "model.safetensors");
  file.write(3, bytes("def"));
  file.write(0, bytes("abc"));
  file.finish();
  CHECK(names(folder.path()).empty());
  file.publish();
  CHECK(test::content_of(path) == "abcdef");
  CHECK(names(folder.path()).size() == 1);
}

TEST_CASE("scratch file: on file systems without unnamed files it has a hidden name until it is published") {
  const test::TempFolder folder;
  const WriteFaultPlan plan({.times = 0, .no_unnamed = true});
  ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "model.safetensors");
  file.write(0, bytes("abcdef"));
  REQUIRE(names(folder.path()).size() == 1);
  CHECK(names(folder.path())[0].starts_with(".model.safetensors.heft-"));
  file.finish();
  file.publish();
  CHECK(test::content_of(folder.path() / "model.safetensors") == "abcdef");
  CHECK(names(folder.path()).size() == 1);
}

TEST_CASE("scratch file: those of killed processes are removed, those of running ones and all other files stay") {
  const test::TempFolder folder;
  for (const char* name :
       {".model.safetensors.heft-0123456789abcdef", ".model-00001-of-00002.safetensors.heft-0123456789abcde0"})
    folder.write(name, std::string_view("dead"));
  for (const char* name :
       {".model.safetensors.heft-0123456789abcdeX", ".model.safetensors.heft-0123456789abcde", "model.safetensors",
        ".other.safetensors.heft-0123456789abcdef", "model.safetensors.heft-0123456789abcdef"})
    folder.write(name, std::string_view("not ours"));
  fs::create_symlink("model.safetensors", folder.path() / ".model.safetensors.heft-1111111111111111");
  const auto held = Folder::open(folder.path().string());
  const WriteFaultPlan plan({.times = 0, .no_unnamed = true});
  ScratchFile living = ScratchFile::create(held, "model.safetensors");
  CHECK(names(folder.path()).size() == 9);
  mmap::remove_dead_scratch(*held, "model");
  CHECK(names(folder.path()).size() == 7);
  CHECK_FALSE(fs::exists(folder.path() / ".model.safetensors.heft-0123456789abcdef"));
  CHECK(test::content_of(folder.path() / "model.safetensors") == "not ours");
  living.finish();
  living.publish();
  CHECK(test::content_of(folder.path() / "model.safetensors").empty());
}

TEST_CASE("scratch file: without locks no file is taken for dead") {
  const test::TempFolder folder;
  folder.write(".a.heft-0123456789abcdef", std::string_view("unknown"));
  const auto held = Folder::open(folder.path().string());
  const WriteFaultPlan plan({.call = WriteCall::lock, .os_error = ENOLCK, .no_unnamed = true});
  write_whole(folder.path() / "a", "abc");
  mmap::remove_dead_scratch(*held, "a");
  CHECK(names(folder.path()) == std::vector<std::string>{".a.heft-0123456789abcdef", "a"});
}

TEST_CASE("scratch file: one that is taken for dead before it is locked gets another name") {
  const test::TempFolder folder;
  const WriteFaultPlan plan({.call = WriteCall::lock, .times = 1, .os_error = EWOULDBLOCK, .no_unnamed = true});
  write_whole(folder.path() / "a", "abc");
  CHECK(names(folder.path()) == std::vector<std::string>{"a"});
  CHECK(std::ranges::count(plan.calls(), WriteCall::create) == 2);
}

TEST_CASE("scratch file: a limit on files' sizes is an Error before anything is written, and no signal") {
  const test::TempFolder folder;
  ::rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const ::rlimit low{.rlim_cur = 100, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
  const WriteFaultPlan plan({.times = 0});
  CHECK_NOTHROW(write_whole(folder.path() / "a", std::string(100, 'x')));
  const Error error = test::thrown_by([&] { write_whole(folder.path() / "b", std::string(101, 'x')); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.os_error() == EFBIG);
  CHECK(error.path() == (folder.path() / "b").string());
  CHECK(error.message() == "expected to write 101 bytes, RLIMIT_FSIZE is 100 (raise it with ulimit -f)");
  CHECK(std::ranges::count(plan.calls(), WriteCall::fallocate) == 1);
  CHECK(names(folder.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("scratch file: setuid, setgid and sticky bits of a replaced file are not kept") {
  const test::TempFolder folder;
  const fs::path path = folder.write("a", std::string_view("old"));
  for (const bool no_unnamed : {false, true}) {
    const WriteFaultPlan plan({.times = 0, .no_unnamed = no_unnamed});
    fs::permissions(path, fs::perms{07751});
    REQUIRE(permissions(path) == fs::perms{07751});
    write_whole(path, "new");
    CHECK(permissions(path) == fs::perms{0751});
  }
}

TEST_CASE("scratch file: one that is not published leaves nothing behind") {
  const test::TempFolder folder;
  for (const bool no_unnamed : {false, true}) {
    const WriteFaultPlan plan({.times = 0, .no_unnamed = no_unnamed});
    ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "a");
    ScratchFile moved = std::move(file);
    moved.write(0, bytes("abc"));
  }
  CHECK(names(folder.path()).empty());
}

TEST_CASE("scratch file: a new file has the permissions that the umask leaves, a replaced one keeps its own") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "a";
  const Umask umask(027);
  write_whole(path, "new");
  CHECK(permissions(path) == fs::perms{0640});
  fs::permissions(path, fs::perms{0604});
  write_whole(path, "newer");
  CHECK(permissions(path) == fs::perms{0604});
  CHECK(test::content_of(path) == "newer");
}

TEST_CASE("scratch file: replaces a symlink, not its target, and refuses a folder") {
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

TEST_CASE("scratch file: a name of the maximum length is written") {
  const test::TempFolder folder;
  const std::string name(255, 'n');
  write_whole(folder.path() / name, "abc");
  CHECK(test::content_of(folder.path() / name) == "abc");
}

TEST_CASE("scratch file: reserved bytes read as zeros, also if the file system cannot reserve") {
  for (const int os_error : {0, EOPNOTSUPP}) {
    const test::TempFolder folder;
    const WriteFaultPlan plan({.call = WriteCall::fallocate, .times = os_error == 0 ? 0u : 1u, .os_error = os_error});
    ScratchFile file = ScratchFile::create(Folder::open(folder.path().string()), "a");
    file.reserve(100);
    file.write(10, bytes("x"));
    file.finish();
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
  for (const WriteCall call : calls_of_a_file) {
    for (const bool no_unnamed : {false, true}) {
      const WriteFaultPlan plan({.call = call, .times = 1, .os_error = EINTR, .no_unnamed = no_unnamed});
      write_whole(folder.path() / "a", "ghi");
      CHECK(test::content_of(folder.path() / "a") == "ghi");
    }
  }
}

TEST_CASE("scratch file: every failing call is one Error with path and errno, and the old file is unchanged") {
  const test::TempFolder folder;
  const fs::path path = folder.write("a", std::string_view("old"));
  fs::permissions(path, fs::perms{0606});  // more than the umask leaves a new file
  const Umask umask(022);
  for (const WriteCall call :
       {WriteCall::create_unnamed, WriteCall::create, WriteCall::link, WriteCall::fchmod, WriteCall::fallocate,
        WriteCall::pwrite, WriteCall::fsync, WriteCall::close, WriteCall::rename}) {
    CAPTURE(static_cast<int>(call));
    const bool no_unnamed = call == WriteCall::create;
    const std::uint64_t skip = call == WriteCall::link ? 1 : 0;  // the first finds out whether files can be linked
    const WriteFaultPlan plan({.call = call, .skip = skip, .os_error = ENOSPC, .no_unnamed = no_unnamed});
    const Error error = test::thrown_by([&] { write_whole(path, "new"); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.path() == path.string());
    CHECK(error.os_error() == ENOSPC);
    CHECK(test::content_of(path) == "old");
    CHECK(names(folder.path()) == std::vector<std::string>{"a"});
  }
}

TEST_CASE("scratch file: a call that the system refuses is none where another does, and noted where none does") {
  struct Refused {
    WriteCall call;
    std::vector<int> errors;
    std::optional<WriteCall> instead;
    std::string note = {};
  };
  const std::vector<Refused> table = {
      {WriteCall::link, {EPERM, ENOSYS, EACCES, EXDEV, ENOENT}, WriteCall::create},
      {WriteCall::getrandom, {EPERM, ENOSYS, EAGAIN, EIO}, std::nullopt},
      {WriteCall::duplicate, {EPERM, ENOSYS, EMFILE}, WriteCall::fsync},
      {WriteCall::fsync, {EPERM, ENOSYS, EINVAL, EOPNOTSUPP, EACCES}, WriteCall::fdatasync},
      {WriteCall::fchmod,
       {EPERM, ENOSYS, EOPNOTSUPP},
       std::nullopt,
       ": the new file has permissions 0604, the replaced one had 0606"},
  };
  const Umask umask(022);
  for (const Refused& row : table)
    for (const int os_error : row.errors) {
      CAPTURE(static_cast<int>(row.call));
      CAPTURE(os_error);
      const test::TempFolder folder;
      const fs::path path = folder.write("a", std::string_view("old"));
      fs::permissions(path, fs::perms{0606});
      const WriteFaultPlan plan({.call = row.call, .os_error = os_error});
      const std::vector<std::string> notes = write_whole(path, "new");
      CHECK(test::content_of(path) == "new");
      CHECK(names(folder.path()) == std::vector<std::string>{"a"});
      if (row.instead)
        CHECK(std::ranges::count(plan.calls(), *row.instead) == (*row.instead == WriteCall::fsync ? 2 : 1));
      REQUIRE(notes.size() == (row.note.empty() ? 0 : 1));
      if (!row.note.empty()) CHECK(notes[0].ends_with(row.note));
      CHECK(permissions(path) == fs::perms{row.note.empty() ? 0606u : 0604u});
    }
}

TEST_CASE("scratch file: a device that fails to sync is an Error, and is not asked again another way") {
  for (const int os_error : {EIO, ENOSPC, EDQUOT}) {
    const test::TempFolder folder;
    const WriteFaultPlan plan({.call = WriteCall::fsync, .os_error = os_error});
    CHECK(test::thrown_by([&] { write_whole(folder.path() / "a", "new"); }).os_error() == os_error);
    CHECK(std::ranges::count(plan.calls(), WriteCall::fdatasync) == 0);
    CHECK(names(folder.path()).empty());
  }
}

TEST_CASE("scratch file: without random bytes names differ all the same, and one that is taken is not used") {
  const WriteFaultPlan plan({.call = WriteCall::getrandom, .os_error = ENOSYS, .no_unnamed = true});
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 100'000; ++i) numbers.insert(mmap::unique_number());
  CHECK(numbers.size() == 100'000);
  const test::TempFolder folder;
  std::vector<ScratchFile> files;
  const auto held = Folder::open(folder.path().string());
  for (int i = 0; i < 50; ++i) files.push_back(ScratchFile::create(held, "a"));
  CHECK(names(folder.path()).size() == 50);
}

TEST_CASE("scratch file: removing a file that is not there is no error, a folder that cannot be synced is one") {
  const test::TempFolder folder;
  const auto held = Folder::open(folder.path().string());
  CHECK_NOTHROW(mmap::remove_file(*held, "nothing"));
  CHECK(mmap::sync_folder(*held).empty());
  for (const int os_error : {EINVAL, EPERM, ENOSYS}) {
    const WriteFaultPlan plan({.call = WriteCall::fsync, .os_error = os_error});
    CHECK(mmap::sync_folder(*held).empty());
    CHECK(plan.calls() == std::vector{WriteCall::fsync, WriteCall::fdatasync});
  }
  const WriteFaultPlan plan({.call = WriteCall::fsync, .os_error = EIO});
  CHECK(test::thrown_by([&] { return mmap::sync_folder(*held); }).os_error() == EIO);
}
