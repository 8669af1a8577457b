#include "mmap/file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::File;
using mmap::Folder;
using mmap::Symlinks;
using test::TempFolder;
using test::thrown_by;

namespace {

std::string read_text(const File& file, std::uint64_t offset, std::size_t size) {
  std::string text(size, '\0');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

TEST_CASE("file: opening records device, inode, size and mtime") {
  const TempFolder folder;
  const std::string path = folder.write("weights", "twelve bytes").string();
  const auto file = File::open(path);
  struct ::stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK(file->path() == path);
  CHECK(file->identity().device == status.st_dev);
  CHECK(file->identity().inode == status.st_ino);
  CHECK(file->identity().mtime_ns == status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec);
  CHECK(file->size_bytes() == 12);
}

TEST_CASE("file: a descriptor is closed on exec and opened for reading only") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", "x").string());
  CHECK((::fcntl(file->descriptor()->get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(file->descriptor()->get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  const auto held = Folder::open(folder.path().string());
  CHECK((::fcntl(held->handle(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("file: a descriptor of the caller's is opened once more, under the caller's name") {
  const TempFolder folder;
  const std::string path = folder.write("weights", "twelve bytes").string();
  const auto first = File::open(path);
  const int descriptor = first->descriptor()->get();
  const auto second = File::of_descriptor(descriptor, "bucket/weights");
  CHECK(second->path() == "bucket/weights");
  CHECK(second->identity() == first->identity());
  CHECK(second->descriptor()->get() != descriptor);
  CHECK(read_text(*second, 7, 5) == "bytes");
  CHECK(::fcntl(second->descriptor()->get(), F_GETFD) == FD_CLOEXEC);
  folder.write("weights", "other bytes!");
  CHECK(thrown_by([&] { second->require_unchanged(); }).code() == ErrorCode::changed_on_disk);
  const int of_folder = ::open(folder.path().c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(thrown_by([&] { return File::of_descriptor(of_folder, "a folder"); }).code() == ErrorCode::refused);
  ::close(of_folder);
}

TEST_CASE("file: the descriptor is closed with the last owner") {
  const TempFolder folder;
  auto file = File::open(folder.write("weights", "x").string());
  const int handle = file->descriptor()->get();
  auto second = file;
  file.reset();
  CHECK(::fcntl(handle, F_GETFD) >= 0);
  second.reset();
  CHECK(::fcntl(handle, F_GETFD) == -1);
}

TEST_CASE("file: a missing file is not_found, with path and errno") {
  const TempFolder folder;
  folder.write("plain", "x");
  for (const std::string name : {"absent", "absent/below", "plain/below"}) {
    const std::string path = (folder.path() / name).string();
    const Error error = thrown_by([&] { return File::open(path); });
    CHECK(error.code() == ErrorCode::not_found);
    CHECK(error.path() == path);
    CHECK(error.os_error() == (name == "plain/below" ? ENOTDIR : ENOENT));
  }
}

TEST_CASE("file: a file without read permission is io with EACCES") {
  if (::geteuid() == 0) return test::skip("root may read everything");
  const TempFolder folder;
  const auto path = folder.write("secret", "x");
  ::chmod(path.c_str(), 0);
  CHECK(thrown_by([&] { return File::open(path.string()); }).os_error() == EACCES);
}

TEST_CASE("file: pipes, folders, devices and sockets are refused without hanging") {
  const TempFolder folder;
  const std::string pipe = (folder.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::string socket_path = (folder.path() / "socket").string();
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ::sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  REQUIRE(::bind(socket, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
  for (const std::string& path : {pipe, folder.path().string(), std::string("/dev/null"), socket_path}) {
    CAPTURE(path);
    const Error error = thrown_by([&] { return File::open(path); });
    CHECK(error.code() == ErrorCode::refused);
    CHECK(error.path() == path);
    CHECK(error.message().find("expected a regular file, found") == 0);
  }
  ::close(socket);
}

TEST_CASE("file: a final symlink is followed or refused by option") {
  const TempFolder folder;
  folder.write("blob", "content");
  std::filesystem::create_symlink("blob", folder.path() / "link");
  const std::string link = (folder.path() / "link").string();
  CHECK(read_text(*File::open(link), 0, 7) == "content");
  const Error error = thrown_by([&] { return File::open(link, Symlinks::refuse); });
  CHECK(error.code() == ErrorCode::refused);
  CHECK(error.os_error() == ELOOP);
  const auto held = Folder::open(folder.path().string());
  CHECK(File::open_in(*held, "link")->size_bytes() == 7);
  CHECK(thrown_by([&] { return File::open_in(*held, "link", Symlinks::refuse); }).code() == ErrorCode::refused);
}

TEST_CASE("file: symlinks in a circle and broken ones have their own errors") {
  const TempFolder folder;
  std::filesystem::create_symlink("b", folder.path() / "a");
  std::filesystem::create_symlink("a", folder.path() / "b");
  std::filesystem::create_symlink("nowhere", folder.path() / "dangling");
  const Error circle = thrown_by([&] { return File::open((folder.path() / "a").string()); });
  CHECK(circle.code() == ErrorCode::io);
  CHECK(circle.os_error() == ELOOP);
  CHECK(thrown_by([&] { return File::open((folder.path() / "dangling").string()); }).code() == ErrorCode::not_found);
}

TEST_CASE("file: a path with a NUL byte never opens the file of the name before it") {
  const TempFolder folder;
  const std::string path = folder.write("weights", "x").string() + std::string("\0.safetensors", 13);
  CHECK(thrown_by([&] { return File::open(path); }).code() == ErrorCode::refused);
  const auto held = Folder::open(folder.path().string());
  CHECK(thrown_by([&] { return File::open_in(*held, std::string("weights\0x", 9)); }).code() == ErrorCode::refused);
  CHECK_FALSE(held->has_file(std::string("weights\0x", 9)));
}

TEST_CASE("file: an empty file opens and reads nothing") {
  const TempFolder folder;
  const auto file = File::open(folder.write("empty", "").string());
  CHECK(file->size_bytes() == 0);
  CHECK_NOTHROW(file->read(0, {}));
  CHECK(file->unchanged());
}

TEST_CASE("file: reads any range, and none outside the size at open") {
  const TempFolder folder;
  const std::string content = test::pattern(100'000);
  const auto file = File::open(folder.write("weights", content).string());
  for (const std::size_t offset : {0u, 1u, 4095u, 4096u, 99'999u, 100'000u})
    for (const std::size_t size : {0u, 1u, 4097u, 50'000u, 100'000u}) {
      CAPTURE(offset);
      CAPTURE(size);
      if (offset + size <= content.size()) {
        CHECK(read_text(*file, offset, size) == content.substr(offset, size));
      } else {
        const Error error = thrown_by([&] { return read_text(*file, offset, size); });
        CHECK(error.code() == ErrorCode::out_of_range);
        CHECK(error.offset() == offset);
      }
    }
  CHECK(thrown_by([&] { return read_text(*file, ~std::uint64_t{0}, 2); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("file: a file that grew, shrank or was written is no longer unchanged") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path.string());
  CHECK(file->unchanged());
  SUBCASE("grew") { std::filesystem::resize_file(path, 11); }
  SUBCASE("shrank") { std::filesystem::resize_file(path, 9); }
  SUBCASE("written, same size") {
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::nanoseconds(1));
  }
  CHECK_FALSE(file->unchanged());
}

TEST_CASE("file: the difference is named, and links, modes and names can differ") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path.string());
  const auto time = std::filesystem::last_write_time(path);
  const auto message = [&] {
    const Error error = thrown_by([&] { file->require_unchanged(); });
    CHECK(error.code() == ErrorCode::changed_on_disk);
    CHECK(error.path() == path.string());
    return error.message();
  };
  std::filesystem::create_hard_link(path, folder.path() / "other");
  CHECK_NOTHROW(file->require_unchanged());
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  CHECK_NOTHROW(file->require_unchanged());
  std::filesystem::remove(path);
  CHECK_NOTHROW(file->require_unchanged());
  std::filesystem::rename(folder.path() / "other", path);
  CHECK_NOTHROW(file->require_unchanged());
  std::filesystem::resize_file(path, 12);
  CHECK(message() == "expected size 10 as when it was opened, found 12");
  std::filesystem::resize_file(path, 10);
  CHECK(message().starts_with("expected modification time "));
  std::filesystem::last_write_time(path, time);
  CHECK(file->unchanged());  // the mode has changed too
}

TEST_CASE("file: a write whose mtime was set back is found by the ctime, a rename is no change") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path.string());
  std::filesystem::rename(path, folder.path() / "aside");
  CHECK_NOTHROW(file->require_unchanged());
  std::filesystem::rename(folder.path() / "aside", path);
  const auto again = File::open(path.string());
  const auto time = std::filesystem::last_write_time(path);
  folder.write("weights", "9876543210");
  std::filesystem::last_write_time(path, time);
  CHECK(thrown_by([&] { again->require_unchanged(); }).message().starts_with("expected change time "));
}

TEST_CASE("file: identity_at() returns the identity of the file at a path, or nothing") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  std::filesystem::create_symlink("weights", folder.path() / "link");
  CHECK(mmap::identity_at((folder.path() / "link").string()) == File::open(path.string())->identity());
  CHECK_FALSE(mmap::identity_at((folder.path() / "absent").string()));
  CHECK_FALSE(mmap::identity_at((path / "below").string()));
  CHECK(thrown_by([&] { return mmap::identity_at(path.string() + std::string("\0x", 2)); }).code() ==
        ErrorCode::refused);
}

TEST_CASE("file: a file replaced by rename is another one, the opened one keeps its bytes") {
  const TempFolder folder;
  const auto path = folder.write("weights", "old content");
  const auto file = File::open(path.string());
  const auto next = folder.write("next", "new and longer content");
  std::filesystem::rename(next, path);
  CHECK(file->unchanged());
  CHECK(read_text(*file, 0, 11) == "old content");
  CHECK(File::open(path.string())->identity() != file->identity());
}

TEST_CASE("file: reading past a truncation is changed_on_disk at the offset where the file ends") {
  const TempFolder folder;
  const auto path = folder.write("weights", test::pattern(10'000));
  const auto file = File::open(path.string());
  std::filesystem::resize_file(path, 6000);
  const Error error = thrown_by([&] { return read_text(*file, 5000, 3000); });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.offset() == 6000);
  CHECK(error.path() == path.string());
}

TEST_CASE("file: several threads read the same file at once") {
  const TempFolder folder;
  const std::string content = test::pattern(1 << 20);
  const auto file = File::open(folder.write("weights", content).string());
  std::vector<std::string> parts(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < parts.size(); ++i)
      threads.emplace_back([&, i] { parts[i] = read_text(*file, i << 18, 1 << 18); });
  }
  CHECK(parts[0] + parts[1] + parts[2] + parts[3] == content);
}

TEST_CASE("folder: names are sorted, complete and without . and ..") {
  const TempFolder folder;
  std::vector<std::string> expected;
  for (int i = 0; i < 2000; ++i) {
    expected.push_back("model-" + std::to_string(100'000 + i) + std::string(40, 'x'));
    folder.write(expected.back(), "");
  }
  const auto held = Folder::open(folder.path().string());
  CHECK(held->names() == expected);
  CHECK(held->names() == expected);  // listing does not use up the descriptor
}

TEST_CASE("folder: has_file follows symlinks and finds regular files only") {
  const TempFolder folder;
  folder.write("file", "x");
  folder.write("below/file", "x");
  std::filesystem::create_symlink("file", folder.path() / "link");
  std::filesystem::create_symlink("nowhere", folder.path() / "dangling");
  const auto held = Folder::open(folder.path().string());
  CHECK(held->has_file("file"));
  CHECK(held->has_file("link"));
  CHECK_FALSE(held->has_file("below"));
  CHECK_FALSE(held->has_file("dangling"));
  CHECK_FALSE(held->has_file("absent"));
}

TEST_CASE("folder: names are looked up in the opened folder after its path is renamed") {
  const TempFolder folder;
  folder.write("model/weights", "right");
  const auto held = Folder::open((folder.path() / "model").string());
  std::filesystem::rename(folder.path() / "model", folder.path() / "moved");
  folder.write("model/weights", "wrong!");
  CHECK(read_text(*File::open_in(*held, "weights"), 0, 5) == "right");
}

TEST_CASE("folder: a path that is no folder is not_found") {
  const TempFolder folder;
  const auto path = folder.write("file", "x");
  CHECK(thrown_by([&] { return Folder::open(path.string()); }).code() == ErrorCode::not_found);
  CHECK(thrown_by([&] { return Folder::open((folder.path() / "absent").string()); }).code() == ErrorCode::not_found);
}

TEST_CASE("folder: a file inside is named by the folder's path and its own") {
  const TempFolder folder;
  folder.write("file", "x");
  const auto held = Folder::open(folder.path().string());
  CHECK(File::open_in(*held, "file")->path() == (folder.path() / "file").string());
  CHECK(thrown_by([&] { return File::open_in(*held, "absent"); }).path() == (folder.path() / "absent").string());
}
