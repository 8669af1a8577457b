#include "mmap/mapping.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "mmap/pages.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::File;
using test::TempFolder;
using test::thrown_by;

namespace {

std::string text(const Bytes& bytes) {
  const auto span = bytes.span();
  return {reinterpret_cast<const char*>(span.data()), span.size()};
}

// Returns the kilobytes of resident file-backed pages of this process.
long mapped_in_kb() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "RssFile:") break;
  long kilobytes = 0;
  status >> kilobytes;
  return kilobytes;
}

// Returns the result of `call` in a child process, where it can lower limits; 255 when it throws.
template <class Call>
int in_child(Call call) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 255;
    try {
      status = call();
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("mapping: any range of a file can be mapped at any alignment") {
  const TempFolder folder;
  const std::size_t page = mmap::page_size();
  const std::string content = test::pattern(3 * page + 17);
  const auto file = File::open(folder.write("weights", content).string());
  CHECK(text(mmap::map(file)) == content);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, page - 1, page, 2 * page - 1, 3 * page + 16})
    for (const std::size_t size : {std::size_t{1}, std::size_t{9}, page, page + 1}) {
      if (offset + size > content.size()) continue;
      CAPTURE(offset);
      CAPTURE(size);
      CHECK(text(mmap::map(file, offset, size)) == content.substr(offset, size));
    }
}

TEST_CASE("mapping: a range past the size at open is out_of_range, and does not wrap") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(5000)).string());
  struct Range {
    std::uint64_t offset, size;
  };
  for (const auto& [offset, size] :
       {Range{0, 5001}, {5000, 1}, {5001, 0}, {4999, 2}, {1, ~0ull}, {~0ull, 1}, {~0ull, ~0ull}}) {
    CAPTURE(offset);
    CAPTURE(size);
    const Error error = thrown_by([&] { return mmap::map(file, offset, size); });
    CHECK(error.code() == ErrorCode::out_of_range);
    CHECK(error.path() == file->path());
  }
}

TEST_CASE("mapping: empty files and empty ranges return empty bytes") {
  const TempFolder folder;
  CHECK(mmap::map(File::open(folder.write("empty", "").string())).empty());
  const auto file = File::open(folder.write("weights", "12345").string());
  CHECK(mmap::map(file, 5, 0).empty());
  CHECK(mmap::map(file, 2, 0).empty());
}

TEST_CASE("mapping: views outlive the file object, the mapping's Bytes and the path") {
  const TempFolder folder;
  const auto path = folder.write("weights", "kept alive by its views");
  std::weak_ptr<const File> watched;
  Bytes view;
  {
    auto file = File::open(path.string());
    watched = file;
    view = mmap::map(std::move(file)).subrange(5, 5);
  }
  std::filesystem::remove(path);
  CHECK_FALSE(watched.expired());
  CHECK(text(view) == "alive");
  view = Bytes();
  CHECK(watched.expired());
}

TEST_CASE("mapping: the mapping of a file replaced by rename keeps the old bytes") {
  const TempFolder folder;
  const auto path = folder.write("weights", "old");
  const Bytes view = mmap::map(File::open(path.string()));
  std::filesystem::rename(folder.write("next", "new"), path);
  CHECK(text(view) == "old");
}

TEST_CASE("mapping: populate makes pages resident, drop unmaps them, bytes stay") {
  const TempFolder folder;
  const std::string content = test::pattern(16 << 20);
  const auto file = File::open(folder.write("weights", content).string());
  const Bytes view = mmap::map(file);
  const long before = mapped_in_kb();
  if (!mmap::populate(view.span(), *file)) return test::skip("this kernel has no MADV_POPULATE_READ");
  CHECK(mapped_in_kb() - before >= (15 << 10));
  mmap::drop(view.span());
  CHECK(mapped_in_kb() - before <= (1 << 10));
  CHECK(text(view) == content);
}

TEST_CASE("mapping: advice, populate, drop, lock and unlock accept any range, and an empty one") {
  const TempFolder folder;
  const std::size_t page = mmap::page_size();
  const std::string content = test::pattern(5 * page);
  const auto file = File::open(folder.write("weights", content).string());
  const Bytes view = mmap::map(file, 3, 4 * page - 1000);
  for (const auto range : {view.span(), view.span().subspan(1, 1), view.span().subspan(page - 96, 2 * page + 800),
                           view.span().first(0), std::span<const std::byte>()}) {
    for (const auto advice :
         {mmap::Advice::normal, mmap::Advice::sequential, mmap::Advice::random, mmap::Advice::will_need})
      mmap::advise(range, advice);
    CHECK_NOTHROW(mmap::populate(range, *file));
    mmap::drop(range);
    mmap::lock(range, *file);
    mmap::unlock(range);
  }
  CHECK(text(view) == content.substr(3, 4 * page - 1000));
}

TEST_CASE("mapping: populate reports a truncation that would raise SIGBUS on a touch") {
  const TempFolder folder;
  const std::size_t page = mmap::page_size();
  const auto path = folder.write("weights", test::pattern(16 * page));
  const auto file = File::open(path.string());
  const Bytes view = mmap::map(file);
  SUBCASE("whole pages are lost") { std::filesystem::resize_file(path, page); }
  SUBCASE("all pages are lost") { std::filesystem::resize_file(path, 0); }
  SUBCASE("a part of the last page is lost, which a touch would not report") {
    std::filesystem::resize_file(path, 16 * page - 1);
  }
  const Error error = thrown_by([&] {
    if (!mmap::populate(view.span(), *file))
      throw Error(ErrorCode::changed_on_disk, "this kernel has no MADV_POPULATE_READ", {.path = file->path()});
  });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.path() == path.string());
}

TEST_CASE("mapping: locking more than RLIMIT_MEMLOCK names the limit") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(1 << 20)).string());
  const Bytes view = mmap::map(file);
  const int status = in_child([&] {
    // The limit does not bind root, so the child becomes another user.
    if (::geteuid() == 0 && ::setuid(65'534) != 0) return 2;
    const ::rlimit low{64 << 10, 64 << 10};
    if (::setrlimit(RLIMIT_MEMLOCK, &low) != 0) return 3;
    if (::mlock(view.span().data(), view.size_bytes()) == 0) return 77;  // the sanitizers' mlock does nothing
    try {
      mmap::lock(view.span(), *file);
    } catch (const Error& error) {
      const bool told = error.code() == ErrorCode::out_of_memory && error.os_error() != 0 &&
                        error.message().find("RLIMIT_MEMLOCK is 65536 bytes") != std::string::npos;
      mmap::lock(view.span().first(4096), *file);
      mmap::unlock(view.span().first(4096));
      return told ? 0 : 4;
    }
    return 5;
  });
  if (status == 77) return test::skip("RLIMIT_MEMLOCK does not bind this process");
  CHECK(status == 0);
}

TEST_CASE("mapping: no address space left is out_of_memory with the path") {
  const TempFolder folder;
  const auto file = File::open(folder.write_sparse("weights", std::uintmax_t{1} << 40).string());
  const int status = in_child([&] {
    const ::rlimit low{std::uint64_t{1} << 36, std::uint64_t{1} << 36};
    if (::setrlimit(RLIMIT_AS, &low) != 0) return 3;
    try {
      const Bytes view = mmap::map(file);
    } catch (const Error& error) {
      return error.code() == ErrorCode::out_of_memory && error.path() == file->path() ? 0 : 4;
    }
    return 5;
  });
  CHECK(status == 0);
}

TEST_CASE("mapping: files of a memory file system map like any other") {
  const std::filesystem::path shm = "/dev/shm";
  if (!std::filesystem::is_directory(shm)) return test::skip("no /dev/shm");
  const auto path = shm / ("heft-test-" + std::to_string(::getpid()));
  const std::string content = test::pattern(10'000);
  std::ofstream(path, std::ios::binary) << content;
  const auto file = File::open(path.string());
  std::filesystem::remove(path);
  const Bytes view = mmap::map(file, 1, 9999);
  CHECK_NOTHROW(mmap::populate(view.span(), *file));
  mmap::drop(view.span());
  CHECK(text(view) == content.substr(1));
  std::string read(10'000, '\0');
  file->read(0, std::as_writable_bytes(std::span(read)));
  CHECK(read == content);
}

TEST_CASE("mapping: ranges widen to the pages around them and narrow to those inside") {
  alignas(4096) static const std::byte memory[4 * 4096]{};
  const std::span<const std::byte> all(memory);
  CHECK(mmap::pages_around(all.subspan(1, 1), 4096).data() == memory);
  CHECK(mmap::pages_around(all.subspan(1, 1), 4096).size() == 4096);
  CHECK(mmap::pages_around(all.subspan(4095, 2), 4096).size() == 2 * 4096);
  CHECK(mmap::pages_around(all.subspan(4096, 4096), 4096).data() == memory + 4096);
  CHECK(mmap::pages_around(all.subspan(4096, 4096), 4096).size() == 4096);
  CHECK(mmap::pages_around(all.subspan(5, 0), 4096).empty());
  CHECK(mmap::pages_inside(all.subspan(1, 4095), 4096).empty());
  CHECK(mmap::pages_inside(all.subspan(1, 8191), 4096).data() == memory + 4096);
  CHECK(mmap::pages_inside(all.subspan(1, 8191), 4096).size() == 4096);
  CHECK(mmap::pages_inside(all, 4096).size() == all.size());
  CHECK(mmap::pages_inside(all.subspan(10, 20), 4096).empty());
}
