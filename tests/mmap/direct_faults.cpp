// Direct reads under failing system calls, on both kinds of queue: linked with the twins of syscalls.cpp and
// ring_uring.cpp.
#include <doctest/doctest.h>

#include <cerrno>
#include <string>
#include <utility>

#include "mmap/direct.hpp"
#include "support/aligned.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::DirectFile;
using mmap::DirectQueue;
using mmap::File;
using test::Aligned;
using test::Call;
using test::Fault;
using test::FaultPlan;
using test::TempFolder;
using test::thrown_by;

namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t blocks = 8;

// A file of a few blocks, a queue of one kind, and memory for the whole file.
struct Scene {
  explicit Scene(bool ring) : read_call(ring ? Call::ring_read : Call::pread), memory(blocks * block) {
    content = test::pattern(blocks * block);
    auto opening = DirectFile::open(File::open(folder.write("weights", content).string()));
    file = std::move(opening.file);
    if (!file) {
      test::skip(opening.reason);
      return;
    }
    queue = DirectQueue::open({.buffers = {memory.span()}, .depth = 16, .allow_ring = ring});
    REQUIRE(queue->is_asynchronous() == ring);
  }

  // One request for all of it.
  std::uint64_t read() {
    queue->submit(file, 0, memory.span(), 0);
    return queue->wait().size_bytes;
  }

  // A short answer of `count` bytes, then all is well.
  [[nodiscard]] Fault shortened(std::uint64_t count) const { return {.call = read_call, .times = 1, .at_most = count}; }
  [[nodiscard]] Fault failing(int os_error, std::uint64_t times = Fault::for_ever) const {
    return {.call = read_call, .times = times, .os_error = os_error};
  }

  Call read_call;
  TempFolder folder;
  std::string content;
  Aligned memory;
  std::shared_ptr<const DirectFile> file;
  std::unique_ptr<DirectQueue> queue;
};

}  // namespace

TEST_CASE("direct faults: EINTR and EAGAIN are tried again") {
  for (const bool ring : {false, true})
    for (const int passing : {EINTR, EAGAIN}) {
      Scene scene(ring);
      if (!scene.file) return;
      const FaultPlan plan({scene.failing(passing, 5)});
      CHECK(scene.read() == blocks * block);
      CHECK(scene.memory.text() == scene.content);
      CHECK(scene.queue->stats().retries == 5);
      CHECK(scene.queue->stats().direct_bytes == blocks * block);
    }
}

TEST_CASE("direct faults: endless EAGAIN leads to a read through the page cache, not to a hang") {
  Scene scene(/*ring=*/true);
  if (!scene.file) return;
  const FaultPlan plan({scene.failing(EAGAIN)});
  CHECK(scene.read() == blocks * block);
  CHECK(scene.memory.text() == scene.content);
  CHECK(scene.queue->stats().buffered_bytes == blocks * block);
}

TEST_CASE("direct faults: a short read that ends on a block is continued directly") {
  for (const bool ring : {false, true}) {
    Scene scene(ring);
    if (!scene.file) return;
    const FaultPlan plan({scene.shortened(3 * block)});
    CHECK(scene.read() == blocks * block);
    CHECK(scene.memory.text() == scene.content);
    CHECK(scene.queue->stats().direct_bytes == blocks * block);
    CHECK(plan.calls(scene.read_call) == 2);
  }
}

TEST_CASE("direct faults: a short read that ends inside a block is finished through the page cache") {
  Scene scene(/*ring=*/true);  // pread itself would refuse an odd size
  if (!scene.file || scene.file->offset_alignment() == 1) return;
  const FaultPlan plan({scene.shortened(block + 1)});
  CHECK(scene.read() == blocks * block);
  CHECK(scene.memory.text() == scene.content);
  CHECK(scene.queue->stats().direct_bytes == block + 1);
  CHECK(scene.queue->stats().buffered_bytes == (blocks - 1) * block - 1);
}

TEST_CASE("direct faults: a range that cannot be read directly is read through the page cache") {
  for (const bool ring : {false, true})
    for (const int refusal : {EINVAL, EOPNOTSUPP, ENOMEM}) {
      Scene scene(ring);
      if (!scene.file) return;
      const FaultPlan plan({scene.failing(refusal, 1)});
      CHECK(scene.read() == blocks * block);
      CHECK(scene.memory.text() == scene.content);
      CHECK(scene.queue->stats().buffered_bytes == blocks * block);
    }
}

TEST_CASE("direct faults: a device error is io with path and offset; the other requests arrive") {
  for (const bool ring : {false, true}) {
    Scene scene(ring);
    if (!scene.file) return;
    const FaultPlan plan({{.call = scene.read_call, .skip = 1, .times = 1, .os_error = EIO}});
    for (std::size_t i = 0; i < blocks; ++i)
      scene.queue->submit(scene.file, i * block, scene.memory.span().subspan(i * block, block), i);
    std::size_t arrived = 0;
    std::size_t failed = 0;
    while (scene.queue->in_flight() > 0) {
      try {
        scene.queue->wait();
        ++arrived;
      } catch (const Error& error) {
        ++failed;
        CHECK(error.code() == ErrorCode::io);
        CHECK(error.os_error() == EIO);
        CHECK(error.path() == scene.file->file().path());
        CHECK(error.offset() == block);
      }
    }
    CHECK(arrived == blocks - 1);
    CHECK(failed == 1);
  }
}

TEST_CASE("direct faults: a file that ends early is changed_on_disk where it ends") {
  for (const bool ring : {false, true}) {
    Scene scene(ring);
    if (!scene.file) return;
    const FaultPlan plan({{.call = scene.read_call, .ends_at = 2 * block}});
    const Error error = thrown_by([&] { return scene.read(); });
    CHECK(error.code() == ErrorCode::changed_on_disk);
    CHECK(error.offset() == 2 * block);
  }
}

TEST_CASE("direct faults: io_uring that is missing or forbidden is a reason, and pread is used") {
  const TempFolder folder;
  const auto [file, why] = DirectFile::open(File::open(folder.write("weights", test::pattern(block)).string()));
  if (!file) return test::skip(why);
  for (const int refusal : {ENOSYS, EPERM, ENOMEM, EMFILE}) {
    const FaultPlan plan({{.call = Call::ring_open, .os_error = refusal}});
    const auto queue = DirectQueue::open({.buffers = {}});
    CHECK_FALSE(queue->is_asynchronous());
    CHECK(queue->reason().starts_with("io_uring_setup: "));
    const Aligned memory(block);
    queue->submit(file, 0, memory.span(), 1);
    CHECK(queue->wait().size_bytes == block);
    CHECK(memory.text() == test::pattern(block));
  }
}

TEST_CASE("direct faults: a ring that cannot register buffers works without them, and reports it") {
  const TempFolder folder;
  const auto [file, why] = DirectFile::open(File::open(folder.write("weights", test::pattern(block)).string()));
  if (!file) return test::skip(why);
  const Aligned memory(block);
  const FaultPlan plan({{.call = Call::ring_register_buffers, .os_error = ENOMEM}});
  const auto queue = DirectQueue::open({.buffers = {memory.span()}});
  CHECK(queue->is_asynchronous());
  CHECK(queue->reason().find("io_uring_register_buffers: ") == 0);
  queue->submit(file, 0, memory.span(), 1);
  CHECK(queue->wait().size_bytes == block);
  CHECK(memory.text() == test::pattern(block));
}

TEST_CASE("direct faults: a ring that refuses reads is tried again, up to a bound") {
  Scene scene(/*ring=*/true);
  if (!scene.file) return;
  {
    const FaultPlan plan({{.call = Call::ring_submit, .times = 2, .os_error = EINTR},
                          {.call = Call::ring_submit, .skip = 2, .times = 3, .os_error = EAGAIN}});
    CHECK(scene.read() == blocks * block);
    CHECK(scene.memory.text() == scene.content);
  }
  {
    const FaultPlan plan({{.call = Call::ring_submit, .times = 20'000, .os_error = EAGAIN}});
    CHECK(thrown_by([&] { return scene.read(); }).code() == ErrorCode::out_of_memory);
  }
  CHECK(scene.queue->in_flight() == 1);
  CHECK(scene.queue->wait().size_bytes == blocks * block);
}

TEST_CASE("direct faults: a direct descriptor that cannot be opened, or is of another file, is a reason") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(block)).string());
  const auto reason = [&](Fault fault) {
    const FaultPlan plan({fault});
    const auto opening = DirectFile::open(file);
    CHECK(opening.file == nullptr);
    return opening.reason;
  };
  CHECK(reason({.call = Call::openat, .os_error = EINVAL}).starts_with("open(O_DIRECT): "));
  CHECK(reason({.call = Call::openat, .os_error = ENOENT}).starts_with("open(O_DIRECT): "));
  CHECK(reason({.call = Call::fstat, .os_error = EIO}).find("/proc/self/fd") == 0);
}

TEST_CASE("direct faults: if statx reports no alignment, it is a page") {
  const TempFolder folder;
  const auto file = File::open(folder.write("weights", test::pattern(block)).string());
  const FaultPlan plan({{.call = Call::statx, .os_error = ENOSYS}});
  const auto [direct, why] = DirectFile::open(file);
  if (!direct) return test::skip(why);
  CHECK(direct->offset_alignment() >= block);
  CHECK(direct->memory_alignment() >= block);
}
