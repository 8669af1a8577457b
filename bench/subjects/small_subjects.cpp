// Many loads of one tensor each, in scattered order, and yardsticks that read as many bytes at the same places. The
// checkpoint is opened before the clock starts: the time is that of the loads.
#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "harness/descriptor.hpp"
#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "subjects/memory.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

constexpr std::uint64_t direct_block = 4096;

// Returns the first `depth` tensors of a random order, the same one in each process.
std::vector<heft::TensorView> scattered(const heft::Checkpoint& checkpoint, const Job& job) {
  const heft::TensorRange tensors = checkpoint.tensors();
  std::vector<heft::TensorView> views(tensors.begin(), tensors.end());
  std::mt19937 random;  // with the default seed
  std::shuffle(views.begin(), views.end(), random);
  views.resize(std::min<std::size_t>(views.size(), job.depth));
  return views;
}

// Returns work that calls `load` with each tensor. `load` returns the bytes loaded.
template <class Load>
Work one_by_one(const Job& job, Load load) {
  auto checkpoint = std::make_shared<heft::Checkpoint>(heft::open(job.path));
  return [checkpoint, views = scattered(*checkpoint, job), load]() -> Outcome {
    std::uint64_t bytes = 0;
    for (const heft::TensorView& view : views) bytes += load(view);
    return {bytes, fmt::format("{} loads", views.size())};
  };
}

Work prepare_materialize(const Job& job) {
  return one_by_one(job, [](const heft::TensorView& view) { return heft::materialize(view).size_bytes(); });
}

Work prepare_into_buffer(const Job& job) {
  auto buffer = std::make_shared<HugeMemory>(destination(job.bytes_written, true, 1));
  return one_by_one(job, [buffer](const heft::TensorView& view) {
    heft::LoadPlan plan;
    plan.add(view, view.dtype(), buffer->span());
    return heft::materialize(plan).stats().bytes_written;
  });
}

Work prepare_stream(const Job& job) {
  return one_by_one(job, [](const heft::TensorView& view) {
    heft::LoadPlan plan;
    plan.add(view, view.dtype());
    std::uint64_t bytes = 0;
    for (const heft::Tensor& tensor : heft::stream(std::move(plan))) bytes += tensor.size_bytes();
    return bytes;
  });
}

std::uint64_t read_at(const Descriptor& file, std::span<std::byte> into, std::uint64_t offset) {
  if (::pread(file.number(), into.data(), into.size(), static_cast<off_t>(offset)) <= 0)
    throw std::runtime_error(fmt::format("pread of {} bytes at {}: {}", into.size(), offset, std::strerror(errno)));
  return into.size();
}

// Without reading ahead, which would fetch the neighbours of each tensor too.
Work prepare_pread(const Job& job) {
  auto file = std::make_shared<Descriptor>(job.path);
  ::posix_fadvise(file->number(), 0, 0, POSIX_FADV_RANDOM);
  auto buffer = std::make_shared<HugeMemory>(destination(job.bytes_written, true, 1));
  return one_by_one(job, [file, buffer](const heft::TensorView& view) {
    return read_at(*file, buffer->span().first(view.size_bytes()), view.offset());
  });
}

// As few blocks as a tensor of that size can fill, and not the one more that an unaligned one begins or ends in.
Work prepare_direct(const Job& job) {
  auto file = std::make_shared<Descriptor>(job.path, O_DIRECT);
  auto buffer = std::make_shared<HugeMemory>(destination(job.bytes_written + direct_block, true, 1));
  return one_by_one(job, [file, buffer](const heft::TensorView& view) {
    const std::uint64_t blocks = (view.size_bytes() + direct_block - 1) / direct_block;
    return read_at(*file, buffer->span().first(blocks * direct_block), view.offset() / direct_block * direct_block);
  });
}

constexpr std::array<Subject, 5> subjects = {{{"small-materialize", prepare_materialize},
                                              {"small-into-buffer", prepare_into_buffer},
                                              {"small-stream", prepare_stream},
                                              {"small-pread", prepare_pread},
                                              {"small-direct", prepare_direct}}};

}  // namespace

std::span<const Subject> small_subjects() noexcept { return subjects; }

}  // namespace bench
