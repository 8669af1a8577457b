#include "mmap/lease.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"

using heft::mmap::File;
using heft::mmap::Lease;
using heft::test::TempFolder;

namespace {

// A child process that changes a file and reports success by its exit status.
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

// A child that a lease on the file holds up: it asks for the lease without waiting, says so, and then does what waits.
class HeldUpChild {
 public:
  template <class Act>
  HeldUpChild(const std::filesystem::path& path, Act act)
      : child_([&] {
          const bool is_held_up = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK;
          return ::write(asked_.to, "", 1) == 1 && is_held_up && act();
        }) {}
  // Returns once it has asked.
  void wait() const {
    char byte = 0;
    REQUIRE(::read(asked_.from, &byte, 1) == 1);
  }
  bool succeeded() const { return child_.succeeded(); }

 private:
  struct Pipe {
    Pipe() {
      int ends[2];
      REQUIRE(::pipe(ends) == 0);
      from = ends[0];
      to = ends[1];
    }
    ~Pipe() {
      ::close(from);
      ::close(to);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    int from = -1;
    int to = -1;
  };

  Pipe asked_;
  Child child_;
};

std::unique_ptr<const Lease> lease_or_skip(const File& file) {
  auto lease = Lease::take(file);
  if (!lease) heft::test::skip("the file system of the temporary folder gives no leases");
  return lease;
}

}  // namespace

TEST_CASE("lease: a truncation by another process waits until the lease is released, and no signal is sent") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path);
  auto lease = lease_or_skip(*file);
  if (!lease) return;
  CHECK(!lease->is_broken());
  const HeldUpChild child(path, [&] { return ::truncate(path.c_str(), 2) == 0; });
  child.wait();
  CHECK(lease->is_broken());
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
  const HeldUpChild writer(path, [&] { return ::open(path.c_str(), O_WRONLY) >= 0; });
  writer.wait();
  CHECK(lease->is_broken());
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

TEST_CASE("lease: none on a file that a process has open for writing") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const int writer = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(writer >= 0);
  CHECK(!Lease::take(*File::open(path)));
  ::close(writer);
}

TEST_CASE("lease: none on a file that has changed since open") {
  const TempFolder folder;
  const auto path = folder.write("weights", "0123456789");
  const auto file = File::open(path);
  std::filesystem::resize_file(path, 5);
  CHECK(!Lease::take(*file));
}
