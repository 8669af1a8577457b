// The mmap room under failing system calls: linked with the faulty twin of mmap/syscalls.cpp.
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "mmap/file.hpp"
#include "mmap/mapping.hpp"
#include "mmap/residency.hpp"
#include "mmap/syscalls.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::File;
using mmap::Folder;
using test::Call;
using test::FaultPlan;
using test::TempFolder;
using test::thrown_by;

namespace {

constexpr int populate_read = 22;

std::string read_all(const File& file) {
  std::string text(file.size_bytes(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace

TEST_CASE("faults: every call that waits is repeated after EINTR") {
  const TempFolder folder;
  const std::string content = test::pattern(10'000);
  const std::string path = folder.write("weights", content).string();
  const FaultPlan plan({{.call = Call::openat, .times = 3, .os_error = EINTR},
                        {.call = Call::pread, .times = 5, .os_error = EINTR},
                        {.call = Call::getdents64, .times = 2, .os_error = EINTR},
                        {.call = Call::madvise, .times = 2, .os_error = EINTR, .advice = populate_read}});
  const auto file = File::open(path);
  CHECK(read_all(*file) == content);
  CHECK(Folder::open(folder.path().string())->names() == std::vector<std::string>{"weights"});
  const Bytes view = mmap::map(file);
  CHECK_NOTHROW(mmap::populate(view.span(), *file));
  CHECK(plan.hits(Call::openat) == 3);
  CHECK(plan.hits(Call::pread) == 5);
  CHECK(plan.hits(Call::getdents64) == 2);
  CHECK(plan.hits(Call::madvise) == 2);
}

TEST_CASE("faults: short reads are continued to the end") {
  const TempFolder folder;
  const std::string content = test::pattern(1000);
  const auto file = File::open(folder.write("weights", content).string());
  const FaultPlan plan({{.call = Call::pread, .at_most = 7}});
  CHECK(read_all(*file) == content);
  CHECK(plan.calls(Call::pread) == 143);
}

TEST_CASE("faults: a device error in the middle of a read is io at the byte it reached") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(1000)).string());
  const FaultPlan plan({{.call = Call::pread, .skip = 2, .os_error = EIO}, {.call = Call::pread, .at_most = 100}});
  const Error error = thrown_by([&] { return read_all(*file); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.os_error() == EIO);
  CHECK(error.offset() == 200);
  CHECK(error.path() == file->path());
}

TEST_CASE("faults: a file that ends early is changed_on_disk") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(1000)).string());
  const FaultPlan plan({{.call = Call::pread, .ends_at = 640}});
  const Error error = thrown_by([&] { return read_all(*file); });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.offset() == 640);
}

TEST_CASE("faults: a failing fstat fails the open without leaking the descriptor") {
  const TempFolder folder;
  const std::string path = folder.write("weights", "x").string();
  const std::size_t before = open_descriptors();
  {
    const FaultPlan plan({{.call = Call::fstat, .os_error = EIO}});
    const Error error = thrown_by([&] { return File::open(path); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.os_error() == EIO);
  }
  CHECK(thrown_by([&] { return File::open("/dev/null"); }).code() == ErrorCode::refused);
  CHECK(open_descriptors() == before);
}

TEST_CASE("faults: unchanged is false when fstat fails") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", "x").string());
  const FaultPlan plan({{.call = Call::fstat, .times = 1, .os_error = EIO}});
  CHECK_FALSE(file->unchanged());
  CHECK(file->unchanged());
}

TEST_CASE(
    "faults: where timestamps advance in ticks, a file that was just changed is examined again in the next tick") {
  const TempFolder folder;
  for (int round = 0; round < 20; ++round) {
    const std::string path = folder.write("weights", "x").string();
    const FaultPlan plan({{.call = Call::stamps, .os_error = ENOSYS}});
    const auto file = File::open(path);
    CHECK(mmap::sys::stamping_clock() > file->identity().ctime_ns);
  }
}

TEST_CASE("faults: out of descriptors is io with EMFILE") {
  const TempFolder folder;
  const std::string path = folder.write("weights", "x").string();
  const FaultPlan plan({{.call = Call::openat, .os_error = EMFILE}});
  CHECK(thrown_by([&] { return File::open(path); }).os_error() == EMFILE);
  CHECK(thrown_by([&] { return Folder::open(folder.path().string()); }).os_error() == EMFILE);
}

TEST_CASE("faults: a folder that cannot be listed is io, no part of it is returned") {
  const TempFolder folder;
  folder.write("weights", "x");
  const auto held = Folder::open(folder.path().string());
  const FaultPlan plan({{.call = Call::getdents64, .skip = 1, .os_error = EIO}});
  CHECK(thrown_by([&] { return held->names(); }).os_error() == EIO);
}

TEST_CASE("faults: populate distinguishes a shrunk file, a failing device and a lack of memory") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  const Bytes view = mmap::map(file);
  const auto populate = [&] { return mmap::populate(view.span(), *file); };
  {
    const FaultPlan plan(
        {{.call = Call::madvise, .os_error = EFAULT, .advice = populate_read}, {.call = Call::fstat, .ends_at = 100}});
    CHECK(thrown_by(populate).code() == ErrorCode::changed_on_disk);
  }
  {
    const FaultPlan plan({{.call = Call::madvise, .os_error = EFAULT, .advice = populate_read}});
    const Error error = thrown_by(populate);
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.os_error() == EFAULT);
  }
  {
    const FaultPlan plan({{.call = Call::madvise, .os_error = ENOMEM, .advice = populate_read}});
    CHECK(thrown_by(populate).code() == ErrorCode::out_of_memory);
  }
  {
    const FaultPlan plan({{.call = Call::madvise, .os_error = EINVAL, .advice = populate_read}});
    CHECK_FALSE(populate());
  }
  {
    const FaultPlan plan({{.call = Call::fstat, .ends_at = 9999}});
    CHECK(thrown_by(populate).code() == ErrorCode::changed_on_disk);
  }
}

TEST_CASE("faults: a lock that the system refuses is out_of_memory with the limit") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  const Bytes view = mmap::map(file);
  const FaultPlan plan({{.call = Call::mlock, .os_error = ENOMEM}});
  const Error error = thrown_by([&] { mmap::lock(view.span(), *file); });
  CHECK(error.code() == ErrorCode::out_of_memory);
  CHECK(error.os_error() == ENOMEM);
  CHECK(error.message().find("RLIMIT_MEMLOCK") != std::string::npos);
}

TEST_CASE("faults: where mincore or cachestat is refused, residency is unknown") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  const FaultPlan plan({{.call = Call::mincore, .os_error = EPERM}, {.call = Call::cachestat, .os_error = ENOSYS}});
  const auto found = mmap::residency(*file, 0, 10'000);
  CHECK_FALSE(found.known);
  CHECK(found.os_error == EPERM);
  CHECK(found.resident == 0);
  CHECK(thrown_by([&] { return mmap::resident_pages(*file, 0, 10'000); }).code() == ErrorCode::unsupported);
  CHECK(mmap::cached_residency(*file, 0, 10'000).os_error == ENOSYS);
  CHECK(thrown_by([&] { return mmap::cached_pages(*file, 0, 10'000); }).code() == ErrorCode::unsupported);
}

TEST_CASE("faults: residency is unknown, not full, for a process that neither owns nor can write the file") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  const FaultPlan plan({{.call = Call::faccess, .os_error = EACCES}});
  const auto found = mmap::residency(*file, 0, 10'000);
  CHECK_FALSE(found.known);
  CHECK(found.pages == 3);
  CHECK(found.resident == 0);
  CHECK(thrown_by([&] { return mmap::resident_pages(*file, 0, 10'000); }).code() == ErrorCode::unsupported);
  CHECK(plan.calls(Call::mincore) == 0);
}

TEST_CASE("faults: read_resident stops where the system would wait and fails where it fails") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  std::string into(10'000, '\0');
  const auto read = [&] { return mmap::read_resident(*file, 0, std::as_writable_bytes(std::span(into))); };
  {
    const FaultPlan plan({{.call = Call::preadv2, .times = 2, .os_error = EINTR},
                          {.call = Call::preadv2, .skip = 4, .os_error = EAGAIN},
                          {.call = Call::preadv2, .at_most = 3000}});
    CHECK(read() == 6000);
  }
  for (const int without : {EAGAIN, EOPNOTSUPP, ENOSYS}) {
    const FaultPlan plan({{.call = Call::preadv2, .os_error = without}});
    CHECK(read() == 0);
  }
  const FaultPlan plan({{.call = Call::preadv2, .os_error = EIO}});
  CHECK(thrown_by(read).os_error() == EIO);
}

TEST_CASE("faults: an empty prefetch or drop makes no call, because the kernel takes 0 for the whole file") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(10'000)).string());
  const FaultPlan plan({});
  mmap::prefetch(*file, 0, 0);
  mmap::drop_cache(*file, 0, 0);
  CHECK(plan.calls(Call::posix_fadvise) == 0);
  mmap::prefetch(*file, 0, 1);
  CHECK(plan.calls(Call::posix_fadvise) == 1);
}
