// What heft is measured at. Everything between open() and the last byte is on the clock, unless a job says that opening
// and planning were done before.
#include <array>
#include <memory>

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "subjects/memory.hpp"
#include "subjects/plan.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

Work prepare_open(const Job& job) {
  auto opened = std::make_shared<std::optional<heft::Checkpoint>>();
  return [opened, path = job.path]() -> Outcome {
    const heft::Checkpoint& checkpoint = opened->emplace(heft::open(path));
    std::uint64_t tensors = 0, name_bytes = 0;
    for (const heft::TensorView& view : checkpoint.tensors()) ++tensors, name_bytes += view.name().size();
    return {name_bytes, fmt::format("{} tensors, tables of {} bytes", tensors, checkpoint.table_bytes())};
  };
}

std::uint64_t count_leaves(const heft::Record& record) {
  if (record.kind() == heft::RecordKind::tensor) return 1;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < record.count(); ++i) sum += count_leaves(record.child(i));
  return sum;
}

Work prepare_tree(const Job& job) {
  auto opened = std::make_shared<std::optional<heft::Checkpoint>>();
  return [opened, path = job.path]() -> Outcome {
    const heft::Checkpoint& checkpoint = opened->emplace(heft::open(path));
    const std::uint64_t leaves = count_leaves(checkpoint.root());
    return {leaves, fmt::format("{} tensors, tables of {} bytes, {} a tensor", leaves, checkpoint.table_bytes(),
                                leaves == 0 ? 0 : checkpoint.table_bytes() / leaves)};
  };
}

Work prepare_view(const Job& job) {
  auto views = std::make_shared<std::vector<heft::Bytes>>();
  return [views, path = job.path]() -> Outcome {
    const heft::Checkpoint checkpoint = heft::open(path);
    std::uint64_t bytes = 0;
    for (const heft::TensorView& view : checkpoint.tensors()) {
      views->push_back(view.bytes());
      bytes += views->back().size_bytes();
    }
    return {bytes, fmt::format("{} views held", views->size())};
  };
}

heft::Path path_from_name(std::string_view name) {
  for (const heft::Path path : {heft::Path::automatic, heft::Path::map, heft::Path::direct, heft::Path::read})
    if (heft::name(path) == name) return path;
  throw std::runtime_error(fmt::format("expected automatic, map, direct or read as a path, found '{}'", name));
}

std::string describe(const heft::LoadStats& stats) {
  std::string text =
      fmt::format("{} threads, ring {:.1f} MB;", stats.threads, static_cast<double>(stats.peak_ring_bytes) / 1e6);
  for (const heft::PathUse& use : stats.paths)
    fmt::format_to(std::back_inserter(text), " {} ({}) {:.1f} MB;", heft::name(use.path), heft::name(use.reason),
                   static_cast<double>(use.bytes) / 1e6);
  return text;
}

/// The caller's buffer that a plan writes into when the destination is reused.
HugeMemory reused_buffer(const Job& job) {
  return job.reused ? destination(job.bytes_written, true, job.threads) : HugeMemory();
}

Work prepare_materialize(const Job& job) {
  struct State {
    HugeMemory buffer;
    heft::LoadPlan plan;
    heft::Weights weights;
  };
  auto state = std::make_shared<State>();
  state->buffer = reused_buffer(job);
  const heft::MaterializeOptions options = {.threads = job.threads, .path = path_from_name(job.via)};
  const auto plan = [state, job] { state->plan = plan_for(heft::open(job.path), job, state->buffer.span()); };
  if (job.planned) plan();
  return [state, job, options, plan]() -> Outcome {
    if (!job.planned) plan();
    state->weights = heft::materialize(state->plan, options);
    return {state->weights.stats().bytes_written, {}, [state, options] {
              return fmt::format("{} peak {:.1f} MB planned", describe(state->weights.stats()),
                                 static_cast<double>(state->plan.peak_bytes(options)) / 1e6);
            }};
  };
}

constexpr std::array<Subject, 4> subjects = {{{"heft-open", prepare_open},
                                              {"heft-tree", prepare_tree},
                                              {"heft-view", prepare_view},
                                              {"heft-materialize", prepare_materialize}}};

}  // namespace

std::span<const Subject> heft_subjects() noexcept { return subjects; }

}  // namespace bench
