#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <string>

#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"
#include "mmap/syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using mmap::File;

namespace {

constexpr std::size_t page = 64u << 10;

// Returns the signal that ends a child process which calls `call`; 0 when it returns.
template <class Call>
int signal_of(Call call) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);  // doctest's reports a test that failed
    call();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("large pages: a page has 64 KiB, and mappings begin on one") {
  CHECK(mmap::page_size() == page);
  const test::TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(3 * page + 5)).string());
  const Bytes whole = mmap::map(file);
  CHECK(reinterpret_cast<std::uintptr_t>(whole.span().data()) % page == 0);
  const Bytes tail = mmap::map(file, page + 4096, page);
  CHECK(reinterpret_cast<std::uintptr_t>(tail.span().data()) % page == 4096);
  CHECK(mmap::residency(*file, 0, 3 * page + 5).pages == 4);
}

TEST_CASE("large pages: an address inside a page ends the process") {
  const test::TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(2 * page)).string());
  const Bytes mapped = mmap::map(file);
  const auto inside = mapped.span().subspan(4096, 4096);
  unsigned char flag = 0;
  CHECK(signal_of([&] { mmap::sys::madvise(mapped.span().data(), page, MADV_RANDOM); }) == 0);
  CHECK(signal_of([&] { mmap::sys::madvise(inside.data(), inside.size(), MADV_RANDOM); }) == SIGABRT);
  CHECK(signal_of([&] { mmap::sys::mincore(inside.data(), inside.size(), &flag); }) == SIGABRT);
  CHECK(signal_of([&] { mmap::sys::mlock(inside.data(), inside.size()); }) == SIGABRT);
  CHECK(signal_of([&] { mmap::sys::munlock(inside.data(), inside.size()); }) == SIGABRT);
}
