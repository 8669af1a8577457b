#include "mmap/lease.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"

using heft::mmap::File;
using heft::mmap::Lease;
using heft::test::TempFolder;

namespace {

// A child process that does something to a file and says by its exit status whether that worked.
class Child {
 public:
  template <class Act>
  explicit Child(Act act) : child_(::fork()) {
    if (child_ == 0) ::_exit(act() ? 0 : 1);
  }
  bool succeeded() const {
    int status = 0;
    ::waitpid(child_, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t child_;
};

bool becomes_broken(const Lease& lease) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!lease.is_broken() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return lease.is_broken();
}

std::unique_ptr<const Lease> lease_or_skip(const File& file) {
  auto lease = Lease::take(file);
  if (!lease) heft::test::skip("the file system of the temporary folder gives no leases");
  return lease;
}

}  // namespace

TEST_CASE("lease: a truncation by another process waits until the lease is given back, and no signal comes") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path);
  auto lease = lease_or_skip(*file);
  if (!lease) return;
  CHECK(!lease->is_broken());
  const Child child([&] { return ::truncate(path.c_str(), 2) == 0; });
  CHECK(becomes_broken(*lease));
  CHECK(std::filesystem::file_size(path) == 10);  // it still waits
  lease.reset();
  CHECK(child.succeeded());
  CHECK(std::filesystem::file_size(path) == 2);
  CHECK(!file->unchanged());
}

TEST_CASE("lease: opening for writing breaks it, opening for reading does not") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path);
  auto lease = lease_or_skip(*file);
  if (!lease) return;
  CHECK(Child([&] { return ::open(path.c_str(), O_RDONLY) >= 0; }).succeeded());
  CHECK(!lease->is_broken());
  const Child writer([&] { return ::open(path.c_str(), O_WRONLY) >= 0; });
  CHECK(becomes_broken(*lease));
  lease.reset();
  CHECK(writer.succeeded());
}

TEST_CASE("lease: several loads of one file hold one each") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", "0123456789"));
  const auto first = lease_or_skip(*file);
  if (!first) return;
  auto second = Lease::take(*file);
  REQUIRE(second);
  second.reset();
  CHECK(!first->is_broken());
}

TEST_CASE("lease: none on a file that somebody writes to") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const int writer = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(writer >= 0);
  CHECK(!Lease::take(*File::open(path)));
  ::close(writer);
}

TEST_CASE("lease: none on a file that is no longer the one that was opened") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path);
  std::filesystem::resize_file(path, 5);
  CHECK(!Lease::take(*file));
}
