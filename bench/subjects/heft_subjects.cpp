// The operations of heft that are measured. The time includes everything from open() to the last byte, unless
// Job::planned moves opening and planning before it.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <numeric>

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
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
  for (std::size_t i = 0; i < record.size(); ++i) sum += count_leaves(record.child(i));
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
      if (view.is_spelled()) continue;  // encoded number by number: there are no bytes to view
      views->push_back(view.bytes());
      bytes += views->back().size_bytes();
    }
    return {bytes, fmt::format("{} views held", views->size())};
  };
}

heft::IoMethod io_method_from_name(std::string_view name) {
  for (const heft::IoMethod path :
       {heft::IoMethod::automatic, heft::IoMethod::map, heft::IoMethod::direct, heft::IoMethod::read})
    if (heft::name(path) == name) return path;
  throw std::runtime_error(fmt::format("expected automatic, map, direct or read as a path, found '{}'", name));
}

std::string describe(const heft::LoadStats& stats) {
  std::string text =
      fmt::format("{} threads, ring {:.1f} MB;", stats.threads, static_cast<double>(stats.peak_staging_bytes) / 1e6);
  for (const heft::IoUse& use : stats.io_uses)
    fmt::format_to(std::back_inserter(text), " {} ({}) {:.1f} MB;", heft::name(use.method), heft::name(use.reason),
                   static_cast<double>(use.bytes) / 1e6);
  return text;
}

/// Returns the caller's buffer for a reused destination, else an empty one.
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
  const heft::MaterializeOptions options = {.threads = job.threads, .io_method = io_method_from_name(job.via)};
  const auto plan = [state, job] { state->plan = plan_for(heft::open(job.path), job, state->buffer.span()); };
  if (job.planned) plan();
  return [state, job, options, plan]() -> Outcome {
    if (!job.planned) plan();
    state->weights = heft::materialize(state->plan, options);
    return {state->weights.stats().bytes_written, {}, [state, options] {
              return fmt::format("{} peak {:.1f} MB planned", describe(state->weights.stats()),
                                 static_cast<double>(state->plan.estimate(options).host_bytes) / 1e6);
            }};
  };
}

heft::StreamOrder order_from_name(std::string_view name) {
  if (name == "file") return heft::StreamOrder::file;
  if (name == "plan") return heft::StreamOrder::plan;
  if (name == "as_finished") return heft::StreamOrder::as_finished;
  throw std::runtime_error(fmt::format("expected file, plan or as_finished as an order, found '{}'", name));
}

// Streams all tensors and destroys each at once, as a program does that hashes them or sends them to a device.
Work prepare_stream(const Job& job) {
  auto stats = std::make_shared<heft::LoadStats>();
  return [stats, job]() -> Outcome {
    std::uint64_t bytes = 0;
    heft::TensorStream tensors = heft::stream(plan_for(heft::open(job.path), job, {}),
                                              {.threads = job.threads, .io_method = io_method_from_name(job.via)},
                                              {.order = order_from_name(job.order)});
    for (const heft::Tensor& tensor : tensors) bytes += tensor.size_bytes();
    *stats = tensors.stats();
    return {bytes, {}, [stats] { return describe(*stats); }};
  };
}

// Returns the part of a name up to the layer's number, "model.layers.7"; the whole name for a tensor outside layers.
std::string_view layer_of(std::string_view name) {
  constexpr std::string_view mark = "layers.";
  const std::size_t at = name.find(mark);
  return at == std::string_view::npos ? name : name.substr(0, name.find('.', at + mark.size()));
}

// Returns the tensor in blocks of rows of at most 256 MiB.
std::vector<heft::TensorView> blocks_of(const heft::TensorView& view) {
  constexpr std::uint64_t max_bytes = std::uint64_t{256} << 20;
  const std::uint64_t count = (view.size_bytes() + max_bytes - 1) / max_bytes;
  if (count <= 1 || view.rank() == 0) return {view};
  std::vector<heft::TensorView> blocks;
  for (std::uint64_t i = 0; i < count; ++i)
    blocks.push_back(
        view.shard(0, static_cast<std::int64_t>(i), static_cast<std::int64_t>(count), heft::Uneven::last_short));
  return blocks;
}

using Layer = std::vector<heft::TensorView>;

std::vector<Layer> layers_of(const heft::Checkpoint& checkpoint) {
  std::map<std::string_view, Layer> by_name;
  for (const heft::TensorView& view : checkpoint.tensors()) by_name[layer_of(view.name())].push_back(view);
  std::vector<Layer> layers;
  for (auto& [name, layer] : by_name) {
    if (layer.size() > 1)
      layers.push_back(std::move(layer));
    else
      for (heft::TensorView& block : blocks_of(layer.front())) layers.push_back({std::move(block)});
  }
  return layers;
}

std::uint64_t room_of(const Layer& layer) {
  return std::accumulate(
      layer.begin(), layer.end(), std::uint64_t{0},
      [](std::uint64_t sum, const heft::TensorView& view) { return sum + room_for(view.size_bytes()); });
}

heft::LoadPlan plan_of(const Layer& layer, std::span<std::byte> into) {
  heft::LoadPlan plan;
  for (const heft::TensorView& view : layer) {
    plan.add(view, view.dtype(), into.first(view.size_bytes()));
    into = into.subspan(room_for(view.size_bytes()));
  }
  return plan;
}

// Streams one layer after another into the same memory, as an inference server does that sends each to a device.
Work prepare_layers(const Job& job) {
  auto buffer = std::make_shared<HugeMemory>();
  return [buffer, job]() -> Outcome {
    const std::vector<Layer> layers = layers_of(heft::open(job.path));
    std::uint64_t largest = 0, bytes = 0;
    for (const Layer& layer : layers) largest = std::max(largest, room_of(layer));
    *buffer = HugeMemory(largest);
    for (const Layer& layer : layers)
      for (const heft::Tensor& tensor : heft::stream(plan_of(layer, buffer->span()), {.threads = job.threads}))
        bytes += tensor.size_bytes();
    return {bytes, fmt::format("{} layers and blocks, the largest of {} bytes", layers.size(), largest)};
  };
}

constexpr std::array<Subject, 6> subjects = {{{"heft-open", prepare_open},
                                              {"heft-tree", prepare_tree},
                                              {"heft-view", prepare_view},
                                              {"heft-materialize", prepare_materialize},
                                              {"heft-stream", prepare_stream},
                                              {"heft-layers", prepare_layers}}};

}  // namespace

std::span<const Subject> heft_subjects() noexcept { return subjects; }

}  // namespace bench
