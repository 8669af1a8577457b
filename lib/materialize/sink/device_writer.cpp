#include "materialize/sink/device_writer.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <utility>

namespace heft::engine {
namespace {

// A write in progress. It has two users, the call that starts it and its report, of which the last one ends it: so a
// report that comes before the call returns waits for it, and what the call throws counts first.
class PendingWrite {
 public:
  PendingWrite(LoadMonitor& monitor, StagingPool& staging, const Placement& to, StagingBuffer buffer) noexcept
      : monitor_(monitor), staging_(staging), to_(to), buffer_(std::move(buffer)) {}

  // The report of a Completion.
  static void report(void* context, std::exception_ptr failure) noexcept {
    auto* const write = static_cast<PendingWrite*>(context);
    // Stored before leave(), whose acquire-release count hands it to the last user.
    write->failure_ = std::move(failure);
    write->leave();
  }

  void leave() noexcept {
    if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // The failure first: closing wakes workers, which then throw "cancelled", and only the first failure is reported.
    if (failure_) monitor_.fail_write(std::exchange(failure_, nullptr), to_);
    if (monitor_.has_failed()) staging_.close();
    delete this;
  }

 private:
  ~PendingWrite() = default;

  LoadMonitor& monitor_;
  StagingPool& staging_;
  const Placement to_;
  StagingBuffer buffer_;  // released last: the load may end then
  std::exception_ptr failure_;
  std::atomic<int> users_ = 2;
};

WriteRequest part_of(const WriteRequest& whole, std::uint64_t to, std::uint64_t staged, std::uint64_t size,
                     std::uint64_t rows) {
  WriteRequest part = whole;
  part.to.byte_offset += to;
  part.staged = whole.staged.subspan(staged, size);
  part.rows = rows;
  if (rows == 1) part.pitch_bytes = 0;
  return part;
}

}  // namespace

void DeviceWriter::write(const WriteRequest& request, const StagingBuffer& buffer) const {
  const std::uint64_t most = setup_.max_write_bytes;
  const std::uint64_t row = request.staged.size() / request.rows;
  if (row <= most) {
    // Several whole rows fit a write.
    const std::uint64_t rows_at_once = std::min(request.rows, most / row);
    for (std::uint64_t done = 0; done < request.rows; done += rows_at_once) {
      const std::uint64_t now = std::min(rows_at_once, request.rows - done);
      start(part_of(request, done * request.pitch_bytes, done * row, now * row, now), buffer);
    }
    return;
  }
  // A row is more than a write takes: each is cut, and its pieces have no pitch.
  for (std::uint64_t done = 0; done < request.rows; ++done)
    for (std::uint64_t at = 0; at < row; at += most)
      start(part_of(request, done * request.pitch_bytes + at, done * row + at, std::min(most, row - at), 1), buffer);
}

void DeviceWriter::start(const WriteRequest& request, const StagingBuffer& buffer) const {
  // On the heap, as the report may come from a thread of the device after this call has returned.
  auto* const write = new PendingWrite(setup_.monitor, setup_.staging, request.to, buffer);
  try {
    setup_.allocation.write_async(request, Completion(write, &PendingWrite::report));
  } catch (...) {
    // Recorded before leave(): a report that has come already is then the second failure.
    setup_.monitor.fail_write(std::current_exception(), request.to);
    write->leave();
    throw;
  }
  write->leave();
}

}  // namespace heft::engine
