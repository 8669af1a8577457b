#include "subjects/plan.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace bench {

namespace {

constexpr std::uint64_t page = 4096;

struct Wanted {
  heft::TensorView view;
  heft::DType dtype;
  [[nodiscard]] std::uint64_t bytes() const { return heft::bytes_for(dtype, view.shape()); }
  [[nodiscard]] std::uint64_t room() const { return room_for(bytes()); }
};

// Returns true for tensors that --dtype converts: reals, and blocks of reals.
bool converts(const heft::TensorView& view) {
  const heft::DTypeCategory category = heft::info(view.dtype()).category;
  return category == heft::DTypeCategory::real || category == heft::DTypeCategory::block;
}

heft::DType target_of(const heft::TensorView& view, const Job& job) {
  if (job.dtype.empty() || !converts(view)) return view.dtype();
  const auto dtype = heft::dtype_from_name(job.dtype);
  if (!dtype) throw std::runtime_error(fmt::format("no dtype '{}'", job.dtype));
  return *dtype;
}

// Calls `visit` with each tensor of the job. Builds no list of them, because its time would be added to heft's.
template <class Visit>
void for_each_wanted(const heft::Checkpoint& checkpoint, const Job& job, const Visit& visit) {
  for (heft::TensorView view : checkpoint.tensors()) {
    const heft::DType dtype = target_of(view, job);
    if (job.dim >= 0) {
      if (view.rank() < 2) continue;  // norms and biases are replicated, and too small to matter
      view = view.shard(static_cast<std::size_t>(job.dim), job.tp_rank, job.tp_size);
    }
    if (job.transposed && view.rank() == 2) view = view.transpose(0, 1);
    visit(Wanted{std::move(view), dtype});
  }
}

// Returns the bytes of the pages under a view that is cut along one dim of a packed tensor. Runs less than a page apart
// share pages.
std::uint64_t pages_under(const heft::TensorView& view) {
  const std::uint64_t element = heft::element_bytes(view.dtype());
  if (view.is_contiguous() || view.rank() != 2)
    return (view.offset() % page + view.size_bytes() + page - 1) / page * page;
  const auto rows = static_cast<std::uint64_t>(view.shape()[0]);
  const std::uint64_t run = static_cast<std::uint64_t>(view.shape()[1]) * element,
                      step = static_cast<std::uint64_t>(view.strides()[0]) * element;
  std::uint64_t pages = 0, next = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t begin = view.offset() + row * step, first = std::max(next, begin / page),
                        last = (begin + run - 1) / page;
    if (last >= first) pages += last - first + 1;
    next = std::max(next, last + 1);
  }
  return pages * page;
}

}  // namespace

heft::LoadPlan plan_for(const heft::Checkpoint& checkpoint, const Job& job, std::span<std::byte> buffer) {
  heft::LoadPlan plan;
  for_each_wanted(checkpoint, job, [&](Wanted w) {
    if (!job.reused) return plan.add(std::move(w.view), w.dtype);
    const std::uint64_t bytes = w.bytes(), room = w.room();
    plan.add(std::move(w.view), w.dtype, buffer.first(bytes));
    buffer = buffer.subspan(room);
  });
  return plan;
}

PlanSize size_of_plan(const heft::Checkpoint& checkpoint, const Job& job) {
  PlanSize size;
  for_each_wanted(checkpoint, job, [&](const Wanted& w) {
    size.bytes_needed += w.view.size_bytes();
    size.bytes_written += w.bytes();
    size.converts = size.converts || w.dtype != w.view.dtype();
    size.room += w.room();
    if (job.dim >= 0) size.pages_needed += pages_under(w.view);
  });
  return size;
}

}  // namespace bench
