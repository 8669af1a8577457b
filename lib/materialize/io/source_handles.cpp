#include "materialize/io/source_handles.hpp"

#include "materialize/budget.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {

std::shared_ptr<const mmap::DirectFile> SourceHandles::direct_file(SourceIndex index) {
  return direct_.get(index, [&]() -> std::shared_ptr<const mmap::DirectFile> {
    const auto& source = schedule_.transfers->sources[position(index)];
    const mmap::DirectFile::Opening opening = mmap::DirectFile::open({source, source->file()});
    if (!opening.file) monitor_.note("no direct reads: " + opening.reason);
    if (!opening.file) return nullptr;
    // A coarser alignment would read much around each chunk, and not fit the margins of the ring, which begins on a
    // page.
    const bool fits = opening.file->offset_alignment() <= max_direct_alignment &&
                      opening.file->memory_alignment() <= mmap::page_size();
    return fits ? opening.file : nullptr;
  });
}

std::shared_ptr<const mmap::Lease> SourceHandles::lease(SourceIndex index) {
  auto lease = leases_.get(index, [&]() -> std::shared_ptr<const mmap::Lease> {
    int os_error = 0;
    auto taken = mmap::Lease::take(*schedule_.source(index).file(), os_error);
    // No lease and no error: the file has changed since it was opened, which require_unchanged() reports.
    if (os_error != 0) monitor_.note("fcntl(F_SETLEASE)", os_error);
    return taken;
  });
  // Examined at each use: a lease breaks when another process wants to write to the file or to truncate it.
  if (!lease || !lease->is_broken()) return lease;
  // The writer that waits for the file continues when the last worker that copies from it has released the lease.
  leases_.refuse(index);
  return nullptr;
}

}  // namespace heft::engine
