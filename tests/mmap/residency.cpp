#include "mmap/residency.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "mmap/mapping.hpp"
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

const std::size_t page = mmap::page_size();
constexpr std::size_t megabyte = 1 << 20;

// Returns a file whose pages are clean, because dirty ones cannot be dropped.
std::shared_ptr<const File> clean_file(const TempFolder& folder, const std::string& content) {
  const auto path = folder.write("weights", content);
  const int handle = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::fsync(handle) == 0);
  ::close(handle);
  return File::open(path.string());
}

// Pages of memory file systems cannot be dropped.
bool drops(const File& file) {
  mmap::drop_cache(file, 0, file.size_bytes());
  return mmap::residency(file, 0, file.size_bytes()).resident == 0;
}

}  // namespace

TEST_CASE("residency: a dropped file is not resident, a read range is, the rest is not") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(8 * megabyte));
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  std::string part(megabyte, '\0');
  ::posix_fadvise(file->descriptor()->get(), 0, 0, POSIX_FADV_RANDOM);  // no readahead past what is asked
  file->read(4 * megabyte, std::as_writable_bytes(std::span(part)));
  const auto read = mmap::residency(*file, 4 * megabyte, megabyte);
  CHECK(read.known);
  CHECK(read.pages == megabyte / page);
  CHECK(read.resident == read.pages);
  CHECK(read.fraction() == 1.0);
  CHECK(mmap::residency(*file, 0, 2 * megabyte).resident == 0);
  const auto flags = mmap::resident_pages(*file, 0, 8 * megabyte);
  CHECK(flags.size() == 8 * megabyte / page);
  CHECK(flags[4 * megabyte / page]);
  CHECK_FALSE(flags[0]);
  CHECK(static_cast<std::uint64_t>(std::count(flags.begin(), flags.end(), true)) ==
        mmap::residency(*file, 0, 8 * megabyte).resident);
}

TEST_CASE("residency: prefetch reads a range into the page cache") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(4 * megabyte));
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  mmap::prefetch(*file, megabyte, megabyte);
  // The kernel reads in the background: the loop ends when it has, or at the test's time limit.
  while (mmap::residency(*file, megabyte, megabyte).fraction() < 1) std::this_thread::yield();
  CHECK(mmap::residency(*file, megabyte, megabyte).resident == megabyte / page);
}

TEST_CASE("residency: an empty drop is not the whole file") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(megabyte));
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  std::string all(megabyte, '\0');
  file->read(0, std::as_writable_bytes(std::span(all)));
  mmap::drop_cache(*file, 0, 0);
  CHECK(mmap::residency(*file, 0, megabyte).fraction() == 1.0);
}

TEST_CASE("residency: the pages that the range touches are counted") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(3 * page));
  CHECK(mmap::residency(*file, 0, 0).pages == 0);
  CHECK(mmap::residency(*file, 0, 0).fraction() == 1.0);
  CHECK(mmap::residency(*file, page - 1, 2).pages == 2);
  CHECK(mmap::residency(*file, 1, page - 1).pages == 1);
  CHECK(mmap::residency(*file, 0, 3 * page).pages == 3);
  CHECK(mmap::resident_pages(*file, page - 1, page + 2).size() == 3);
  CHECK(mmap::resident_pages(*file, 7, 0).empty());
}

TEST_CASE("residency: ranges of more pages than one call examines") {
  const TempFolder folder;
  const auto file = File::open(folder.write_sparse("weights", 200 * megabyte + 5).string());
  CHECK(mmap::residency(*file, 3, 200 * megabyte + 2).pages == 200 * megabyte / page + 1);
  CHECK(mmap::resident_pages(*file, 3, 200 * megabyte + 2).size() == 200 * megabyte / page + 1);
}

TEST_CASE("residency: a range outside the file is out_of_range") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(100));
  std::string one(1, '\0');
  CHECK(thrown_by([&] { return mmap::residency(*file, 0, 101); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { return mmap::resident_pages(*file, ~0ull, 2); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { return mmap::read_resident(*file, 100, std::as_writable_bytes(std::span(one))); }).code() ==
        ErrorCode::out_of_range);
}

TEST_CASE("residency: read_resident copies resident pages and stops before the first other one") {
  const TempFolder folder;
  const std::string content = test::pattern(4 * megabyte);
  const auto file = clean_file(folder, content);
  std::string into(4 * megabyte, '\0');
  const auto bytes = std::as_writable_bytes(std::span(into));
  file->read(0, bytes);
  into.assign(into.size(), '\0');
  if (mmap::read_resident(*file, 0, std::as_writable_bytes(std::span(into))) == 0)
    return test::skip("no RWF_NOWAIT on this file system");
  CHECK(into == content);
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  CHECK(mmap::read_resident(*file, 0, std::as_writable_bytes(std::span(into))) < into.size());
}

TEST_CASE("residency: samples are the first bytes of every step, and the last one can be short") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(8 * megabyte));
  const Bytes mapped = mmap::map(file);
  CHECK(
      mmap::sampled_residency(mapped.span().first(8 * megabyte), *file, {.step = megabyte, .bytes = 2 * page}).pages ==
      16);
  CHECK(mmap::sampled_residency(mapped.span().first(2 * megabyte + 1), *file, {.step = megabyte, .bytes = 2 * page})
            .pages == 5);
  CHECK(mmap::sampled_residency(mapped.span().first(0), *file, {.step = megabyte, .bytes = page}).fraction() == 1.0);
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  std::string part(page, '\0');
  ::posix_fadvise(file->descriptor()->get(), 0, 0, POSIX_FADV_RANDOM);  // no readahead past what is asked
  for (const std::uint64_t at : {0 * megabyte, 3 * megabyte, 3 * megabyte + page})
    file->read(at, std::as_writable_bytes(std::span(part)));
  const auto found =
      mmap::sampled_residency(mapped.span().first(8 * megabyte), *file, {.step = megabyte, .bytes = page});
  CHECK(found.pages == 8);
  CHECK(found.resident == 2);
}

TEST_CASE("residency: cachestat needs no mapping and agrees with mincore") {
  const TempFolder folder;
  const auto file = clean_file(folder, test::pattern(8 * megabyte));
  if (!mmap::cached_residency(*file, 0, 1).known) return test::skip("the kernel has no cachestat");
  CHECK(mmap::cached_residency(*file, 0, 0).pages == 0);
  CHECK(mmap::cached_residency(*file, page - 1, 2).pages == 2);
  CHECK(mmap::cached_residency(*file, 0, 8 * megabyte).resident == mmap::residency(*file, 0, 8 * megabyte).resident);
  if (!drops(*file)) return test::skip("this file system keeps its pages");
  std::string part(page, '\0');
  ::posix_fadvise(file->descriptor()->get(), 0, 0, POSIX_FADV_RANDOM);
  for (const std::uint64_t at : {0 * megabyte, 3 * megabyte, 3 * megabyte + page, 8 * megabyte - page})
    file->read(at, std::as_writable_bytes(std::span(part)));
  CHECK(mmap::cached_residency(*file, 0, 8 * megabyte).resident == 4);
  CHECK(mmap::cached_pages(*file, 0, 8 * megabyte) == mmap::resident_pages(*file, 0, 8 * megabyte));
  CHECK(mmap::cached_pages(*file, page + 1, 3 * megabyte) == mmap::resident_pages(*file, page + 1, 3 * megabyte));
}
