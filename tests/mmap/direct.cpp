#include "mmap/direct.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>

#include "mmap/residency.hpp"
#include "support/aligned.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::DirectFile;
using mmap::DirectQueue;
using mmap::DirectSetup;
using mmap::File;
using test::Aligned;
using test::TempFolder;
using test::thrown_by;

namespace {

constexpr std::size_t block = 4096;

// Returns the file opened for direct reads; nothing, and skips the test, if the temporary folder does not support them.
std::shared_ptr<const DirectFile> direct(const std::filesystem::path& path) {
  auto [file, reason] = DirectFile::open(File::open(path.string()));
  if (!file) test::skip(reason);
  return file;
}

// Reads the whole file in requests of `size` bytes and returns its bytes.
std::string read_all(DirectQueue& queue, const std::shared_ptr<const DirectFile>& file, std::span<std::byte> memory,
                     std::size_t size, unsigned depth) {
  std::string content;
  const std::uint64_t total = file->file().size_bytes();
  content.resize(total);
  std::uint64_t next = 0;
  std::uint64_t got = 0;
  std::vector<std::pair<std::uint64_t, unsigned>> running;
  const auto start = [&](unsigned place) {
    queue.submit(file, next, memory.subspan(place * size, size), next << 16 | place);
    next += size;
  };
  for (unsigned place = 0; place < depth && next < total; ++place) start(place);
  while (queue.in_flight() > 0) {
    const auto [token, bytes] = queue.wait();
    const auto place = static_cast<unsigned>(token & 0xffff);
    const std::uint64_t offset = token >> 16;
    std::memcpy(content.data() + offset, memory.data() + place * size, bytes);
    got += bytes;
    if (next < total) start(place);
  }
  CHECK(got == total);
  return content;
}

}  // namespace

TEST_CASE("direct: a direct file is the opened file again, closed on exec, O_DIRECT, and blocking") {
  const TempFolder folder;
  const auto file = direct(folder.write("weights", test::pattern(10'000)));
  if (!file) return;
  CHECK(file->handle() != file->file().descriptor()->get());
  CHECK((::fcntl(file->handle(), F_GETFD) & FD_CLOEXEC) != 0);
  const int flags = ::fcntl(file->handle(), F_GETFL);
  CHECK((flags & O_DIRECT) != 0);
  CHECK((flags & O_ACCMODE) == O_RDONLY);
  CHECK((flags & O_NONBLOCK) == 0);
  CHECK(file->offset_alignment() >= 1);
  CHECK(file->memory_alignment() >= 1);
}

TEST_CASE("direct: a file that was deleted or replaced after open is still read") {
  const TempFolder folder;
  const auto path = folder.write("weights", test::pattern(block, 1));
  const auto file = File::open(path.string());
  SUBCASE("deleted") { std::filesystem::remove(path); }
  SUBCASE("replaced") { std::filesystem::rename(folder.write("next", test::pattern(block, 2)), path); }
  const auto [again, reason] = DirectFile::open(file);
  if (!again) return test::skip(reason);
  const Aligned memory(block);
  const auto queue = DirectQueue::open({.buffers = {}});
  queue->submit(again, 0, memory.span(), 0);
  CHECK(queue->wait().size_bytes == block);
  CHECK(memory.text() == test::pattern(block, 1));
}

TEST_CASE("direct: files of memory file systems are not read directly, with a reason") {
  const std::filesystem::path shm = "/dev/shm";
  if (!std::filesystem::is_directory(shm)) return test::skip("no /dev/shm");
  const auto path = shm / ("heft-test-" + std::to_string(::getpid()));
  std::ofstream(path) << "in memory";
  const auto file = File::open(path.string());
  std::filesystem::remove(path);
  const auto [again, reason] = DirectFile::open(file);
  CHECK(again == nullptr);
  CHECK(reason.find("memory") != std::string::npos);
}

TEST_CASE("direct: whole files are read with any size, depth, registration and kind of queue") {
  const TempFolder folder;
  for (const std::size_t size : {std::size_t{1}, block - 1, block, 3 * block + 5, std::size_t{1'000'003}}) {
    const std::string content = test::pattern(size);
    const auto file = direct(folder.write("weights-" + std::to_string(size), content));
    if (!file) return;
    for (const unsigned depth : {1u, 3u, 64u})
      for (const bool registered : {false, true})
        for (const bool ring : {false, true}) {
          CAPTURE(size);
          CAPTURE(depth);
          CAPTURE(registered);
          CAPTURE(ring);
          const Aligned memory(depth * 4 * block);
          DirectSetup setup{.buffers = {}, .depth = depth, .allow_ring = ring};
          if (registered) setup.buffers = {memory.span()};
          const auto queue = DirectQueue::open(setup);
          CHECK((ring || !queue->is_asynchronous()));
          CHECK((queue->is_asynchronous() || queue->reason().empty() == !ring));
          CHECK(read_all(*queue, file, memory.span(), 4 * block, depth) == content);
          // The end of a file that is no multiple of the block is read directly too: the read stops where the file
          // does.
          CHECK(queue->stats().direct_bytes == size);
          CHECK(queue->stats().buffered_bytes == 0);
        }
  }
}

TEST_CASE("direct: reads do not change the page cache") {
  const TempFolder folder;
  const auto path = folder.write("weights", test::pattern(1 << 20));
  const int handle = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::fsync(handle) == 0);
  ::close(handle);
  const auto file = direct(path);
  if (!file) return;
  mmap::drop_cache(file->file(), 0, 1 << 20);
  if (mmap::residency(file->file(), 0, 1 << 20).resident != 0) return test::skip("this file system keeps its pages");
  const Aligned memory(1 << 20);
  const auto queue = DirectQueue::open({.buffers = {}});
  queue->submit(file, 0, memory.span(), 0);
  CHECK(queue->wait().size_bytes == 1 << 20);
  CHECK(memory.text() == test::pattern(1 << 20));
  CHECK(mmap::residency(file->file(), 0, 1 << 20).resident == 0);
  CHECK(queue->stats().direct_bytes == 1 << 20);
}

TEST_CASE("direct: several files and buffers in one queue") {
  const TempFolder folder;
  DirectSetup setup;
  std::vector<Aligned> memory;
  std::vector<std::shared_ptr<const DirectFile>> files;
  for (unsigned i = 0; i < 8; ++i) {
    files.push_back(direct(folder.write("weights-" + std::to_string(i), test::pattern(2 * block, i + 1))));
    if (!files.back()) return;
    memory.emplace_back(2 * block);
    setup.buffers.push_back(memory.back().span());
  }
  const auto queue = DirectQueue::open(setup);
  // The queue keeps its files open.
  for (unsigned i = 0; i < 8; ++i) queue->submit(std::exchange(files[i], nullptr), 0, memory[i].span(), i);
  queue->flush();
  CHECK(queue->in_flight() == 8);
  std::set<std::uint64_t> tokens;
  for (unsigned i = 0; i < 8; ++i) tokens.insert(queue->wait().token);
  CHECK(tokens.size() == 8);
  CHECK(queue->in_flight() == 0);
  for (unsigned i = 0; i < 8; ++i) CHECK(memory[i].text() == test::pattern(2 * block, i + 1));
}

TEST_CASE("direct: submit and open refuse arguments that break their requirements") {
  const TempFolder folder;
  const auto file = direct(folder.write("weights", test::pattern(3 * block)));
  if (!file) return;
  const Aligned memory(4 * block);
  for (const bool ring : {false, true}) {
    const auto queue = DirectQueue::open({.buffers = {}, .depth = 1, .allow_ring = ring});
    const auto refusal = [&](std::uint64_t offset, std::span<std::byte> into) {
      return thrown_by([&] { queue->submit(file, offset, into, 0); }).code();
    };
    CHECK(thrown_by([&] { queue->submit(nullptr, 0, memory.span(), 0); }).code() == ErrorCode::out_of_range);
    CHECK(refusal(3 * block, memory.span()) == ErrorCode::out_of_range);
    CHECK(refusal(0, memory.span().first(0)) == ErrorCode::out_of_range);
    CHECK(refusal(0, {memory.span().data(), (std::size_t{1} << 30) + block}) == ErrorCode::out_of_range);
    if (file->offset_alignment() > 1) {
      CHECK(refusal(1, memory.span()) == ErrorCode::misaligned);
      CHECK(refusal(0, memory.span().first(block + 1)) == ErrorCode::misaligned);
    }
    if (file->memory_alignment() > 1) CHECK(refusal(0, memory.span().subspan(1, block)) == ErrorCode::misaligned);
    CHECK(thrown_by([&] { queue->wait(); }).code() == ErrorCode::out_of_range);
    queue->submit(file, 0, memory.span(), 7);
    CHECK(refusal(0, memory.span()) == ErrorCode::out_of_range);
    const auto [token, bytes] = queue->wait();
    CHECK(token == 7);
    CHECK(bytes == 3 * block);
  }
  CHECK(thrown_by([&] { return DirectQueue::open({.buffers = {}, .depth = 0}); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { return DirectQueue::open({.buffers = {}, .depth = 4097}); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { return DirectQueue::open({.buffers = {memory.span().first(0)}}); }).code() ==
        ErrorCode::out_of_range);
}

TEST_CASE("direct: a file truncated before its read is changed_on_disk, and the queue continues") {
  const TempFolder folder;
  const auto path = folder.write("weights", test::pattern(4 * block));
  const auto file = direct(path);
  if (!file) return;
  std::filesystem::resize_file(path, block);
  for (const bool ring : {false, true}) {
    const Aligned memory(4 * block);
    const auto queue = DirectQueue::open({.buffers = {}, .depth = 4, .allow_ring = ring});
    queue->submit(file, 2 * block, memory.span().first(block), 1);
    const Error error = thrown_by([&] { queue->wait(); });
    CHECK(error.code() == ErrorCode::changed_on_disk);
    CHECK(error.offset() == 2 * block);
    CHECK(error.path() == path.string());
    CHECK(queue->in_flight() == 0);
    queue->submit(file, 0, memory.span().first(block), 2);
    CHECK(queue->wait().token == 2);
  }
}

TEST_CASE("direct: the destructor of a queue waits for reads in flight") {
  const TempFolder folder;
  const std::string content = test::pattern(8 << 20);
  const auto file = direct(folder.write("weights", content));
  if (!file) return;
  const Aligned memory(8 << 20);
  {
    const auto queue = DirectQueue::open({.buffers = {memory.span()}});
    for (unsigned i = 0; i < 8; ++i)
      queue->submit(file, std::uint64_t{i} << 20, memory.span().subspan(i << 20, 1 << 20), i);
    queue->flush();
    if (!queue->is_asynchronous()) return test::skip(queue->reason());
  }
  CHECK(memory.text() == content);
}
