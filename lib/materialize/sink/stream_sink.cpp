#include "materialize/sink/stream_sink.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "materialize/memory/memory_left.hpp"
#include "materialize/origins.hpp"
#include "materialize/plan_state.hpp"

namespace heft::engine {
namespace {

// Offsets of large tensors count from the start of a page.
std::uint64_t page_of(const StreamGroup& group) noexcept {
  return group.arena_bytes < mmap::page_size() ? 1 : mmap::page_size();
}

std::vector<EntryMemory> buffers_of_caller(const PlanEntries& entries) {
  std::vector<EntryMemory> memory;
  reserve_huge(memory, entries.size());
  // Entries without a buffer get their place when their group enters.
  for (const PlanEntry& entry : entries) memory.push_back({entry.into.data(), Store::cached});
  return memory;
}

}  // namespace

StreamSink::StreamSink(const Setup& setup)
    : setup_(setup),
      memory_(setup.schedule, buffers_of_caller(PlanAccess::entries(setup.plan))),
      filling_(setup.groups.groups.size()) {
  for (std::uint32_t i = 0; i < setup.schedule.chunks.size(); ++i) {
    // Chunks are sorted by group: those of each one are consecutive.
    Filling& filling = filling_[setup.schedule.chunks[i].group];
    if (position(filling.last) == 0) filling.first = ChunkIndex{i};
    filling.last = ChunkIndex{i + 1};
  }
  for (std::size_t group = 0; group < filling_.size(); ++group)
    filling_[group].outstanding = setup.groups.groups[group].size_bytes;
  for (const Batch& batch : setup.schedule.batches) {
    const std::span<const Chunk> chunks = setup.schedule.chunks_of(batch);
    for (std::size_t i = 0; i < chunks.size(); ++i)
      // A proof counts as one more byte: without it the group does not come to 0, and is not handed out.
      if (ends_proof(setup.schedule, chunks, i)) ++filling_[chunks[i].group].outstanding;
  }
  for (std::size_t group = 0; group < filling_.size(); ++group)
    // No write will ever count such a group down.
    if (setup.groups.groups[group].size_bytes == 0) hand_out(group);
}

bool StreamSink::enter(const Chunk& chunk) {
  std::atomic<bool>& has_memory = filling_[chunk.group].has_memory;
  // The usual case, without the lock: acquire makes the places of the group's entries visible to this worker.
  if (has_memory.load(std::memory_order_acquire)) return true;
  const std::lock_guard lock(mutex_);
  if (has_memory.load(std::memory_order_relaxed)) return true;
  if (!setup_.receiver.enter(chunk.group)) return false;
  allocate(chunk.group);
  has_memory.store(true, std::memory_order_release);
  return true;
}

void StreamSink::allocate(std::size_t number) {
  const StreamGroup& group = setup_.groups.groups[number];
  const std::span<const std::uint32_t> entries = setup_.groups.entries_of(group);
  const Store store = store_for(group.size_bytes);
  std::byte* memory = nullptr;
  if (group.arena_bytes != 0) {
    if (group.arena_bytes > setup_.checked_bytes) {
      const PlanEntry& first = PlanAccess::entries(setup_.plan)[entries.front()];
      const Chunk& chunk = setup_.schedule.chunks[position(filling_[number].first)];
      // Unused arenas count as taken memory: they are freed before the system is asked for its free memory.
      setup_.arenas.clear();
      require_memory(group.arena_bytes, mmap::memory_available(),
                     {.path = std::string(setup_.schedule.source(chunk.source).path()), .tensor = first.name});
    }
    filling_[number].arena =
        setup_.arenas.take(group.arena_bytes, std::max<std::uint64_t>(setup_.alignment, page_of(group)));
    memory = filling_[number].arena->span().data();
  }
  for (const std::uint32_t entry : entries) {
    // Placed before has_memory is set: other workers use the place without a lock from then on.
    const bool has_buffer = PlanAccess::entries(setup_.plan)[entry].has_buffer;
    std::byte* const base =
        has_buffer ? PlanAccess::entries(setup_.plan)[entry].into.data() : memory + setup_.groups.offsets[entry];
    memory_.place(EntryIndex{entry}, {base, store});
  }
}

void StreamSink::write(const Chunk& chunk, Range range, const std::byte* bytes) {
  write_chunk(setup_.schedule, setup_.monitor, chunk, range, bytes, memory_);
  count_down(chunk.group, written_by(setup_.schedule, chunk, range));
}

void StreamSink::filled(const Chunk& chunk, std::uint64_t bytes) { count_down(chunk.group, bytes); }

void StreamSink::proved(const Chunk& chunk) { count_down(chunk.group, 1); }

void StreamSink::count_down(std::size_t group, std::uint64_t written) {
  // The worker that counts to 0 hands out. Acquire and release: it sees the bytes that all others wrote.
  if (filling_[group].outstanding.fetch_sub(written, std::memory_order_acq_rel) == written) hand_out(group);
}

// Compares the files at the last possible moment: afterwards the consumer has the tensors.
void StreamSink::hand_out(std::size_t number) {
  const StreamGroup& group = setup_.groups.groups[number];
  Filling& filling = filling_[number];
  const Batch chunks{.first = filling.first, .last = filling.last};
  Origins(setup_.schedule, setup_.schedule.chunks_of(chunks)).require_unchanged();
  setup_.monitor.report_now();
  std::vector<Tensor> tensors;
  tensors.reserve(group.last - group.first);
  // The tensors alone own it from here, so that it returns to the pool with the last of them.
  const std::shared_ptr<Arena> arena = std::move(filling.arena);
  for (const std::uint32_t number_of_entry : setup_.groups.entries_of(group)) {
    const PlanEntry& entry = PlanAccess::entries(setup_.plan)[number_of_entry];
    const auto size = static_cast<std::size_t>(entry.size_bytes);
    if (entry.has_buffer)
      tensors.push_back(tensor_of(entry, Bytes(entry.into, nullptr)));
    else if (size == 0)
      tensors.push_back(tensor_of(entry, Bytes()));
    else
      tensors.push_back(
          tensor_of(entry, Bytes(arena->span().subspan(setup_.groups.offsets[number_of_entry], size), arena)));
  }
  setup_.receiver.put(number, std::move(tensors));
}

}  // namespace heft::engine
