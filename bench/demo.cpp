#include "demo.hpp"

#include <unistd.h>

#include <chrono>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "harness/page_cache.hpp"
#include "harness/probe.hpp"
#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "progress.hpp"

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double megabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

std::uint64_t file_bytes(const heft::Checkpoint& checkpoint) {
  std::uint64_t sum = 0;
  for (const heft::ShardInfo& shard : checkpoint.shards()) sum += shard.size_bytes;
  return sum;
}

void inspect(const heft::Checkpoint& checkpoint, double open_seconds) {
  struct Total {
    std::uint64_t tensors = 0, bytes = 0;
  };
  std::map<std::string_view, Total> totals;
  for (const heft::TensorView& view : checkpoint.tensors()) {
    Total& total = totals[heft::name(view.dtype())];
    ++total.tensors, total.bytes += view.size_bytes();
  }
  const heft::ShardInfo& first = checkpoint.shards().front();
  fmt::print("\n1. Contents: {} of {}, {:.1f} MB, opened in {:.2f} ms\n", first.format,
             checkpoint.shards().size() == 1 ? "one file" : fmt::format("{} files", checkpoint.shards().size()),
             megabytes(file_bytes(checkpoint)), open_seconds * 1e3);
  for (const auto& [dtype, total] : totals)
    fmt::print("   {:>6} tensors of {:<8} {:>10.1f} MB\n", total.tensors, dtype, megabytes(total.bytes));
  const heft::Record root = checkpoint.root();
  for (std::size_t i = 0; i < root.size() && i < 6; ++i) {
    const heft::Record child = root.child(i);
    fmt::print("   {:<28} {:>6} tensors {:>14.1f} MB\n", root.key(i), child.tensor_count(),
               megabytes(child.tensor_bytes()));
  }
  if (root.size() > 6) fmt::print("   ... {} more\n", root.size() - 6);
}

// Returns the first matrix that a tensor parallel rank would cut.
std::optional<heft::TensorView> a_matrix(const heft::Checkpoint& checkpoint) {
  for (const heft::TensorView& view : checkpoint.tensors())
    if (view.rank() == 2 && view.shape()[0] % 8 == 0 && view.shape()[0] > 0 && view.shape()[1] > 4 && view.has_data())
      return view;
  return std::nullopt;
}

template <heft::Element T>
std::string first_values(const heft::Tensor& tensor) {
  std::string text;
  for (const T value : tensor.span<T>().first(4)) text += fmt::format(" {:.6g}", static_cast<double>(value));
  return text;
}

void show_slice(const heft::Checkpoint& checkpoint) {
  const std::optional<heft::TensorView> whole = a_matrix(checkpoint);
  if (!whole) return;
  const Clock::time_point begin = Clock::now();
  const heft::TensorView part = whole->shard(0, 3, 8);
  const double view_seconds = seconds_since(begin);
  fmt::print("\n2. One slice: rank 3 of 8 of {}\n", whole->name());
  fmt::print("   {} of {}: a view, made in {:.2f} us, nothing copied\n", heft::to_string(part.shape()),
             heft::to_string(whole->shape()), view_seconds * 1e6);
  if (heft::info(part.dtype()).category != heft::DTypeCategory::real) return;
  const heft::Tensor row = heft::materialize(part.slice(0, 0, 1), heft::DType::f32);
  fmt::print("   its first values, as f32: {} ...\n", first_values<float>(row));
}

void load(const heft::Checkpoint& checkpoint, unsigned threads) {
  heft::LoadPlan plan;
  for (const heft::TensorView& view : checkpoint.tensors())
    if (view.has_data()) plan.add(view);
  const Memory before = memory_of(getpid());
  reset_peak(getpid());
  Progress bar("   loading", plan.estimate().bytes_written);
  const heft::MaterializeOptions options = {.threads = threads,
                                            .progress = [&bar](const heft::Progress& p) { bar.at(p.bytes_done); }};
  const heft::Weights weights = heft::materialize(plan, options);
  bar.clear();
  const heft::LoadStats& stats = weights.stats();
  fmt::print("\n3. All tensors, copied into memory: {} tensors, {:.1f} MB in {:.3f} s, {:.2f} GB/s, {} threads\n",
             weights.size(), megabytes(stats.bytes_written), stats.seconds,
             megabytes(stats.bytes_written) / 1e3 / stats.seconds, stats.threads);
  for (const heft::IoUse& use : stats.io_uses)
    fmt::print("   {:.1f} MB by path {} ({})\n", megabytes(use.bytes), heft::name(use.method), heft::name(use.reason));
  const std::uint64_t peak = peak_resident_of(getpid());
  fmt::print(
      "\n4. Memory: peak {:.1f} MB resident; the files have {:.1f} MB ({:.3f} x); {:.1f} MB were resident before the "
      "load, whose plan stated a peak of {:.1f} MB\n",
      megabytes(peak), megabytes(file_bytes(checkpoint)),
      static_cast<double>(peak) / static_cast<double>(file_bytes(checkpoint)), megabytes(before.resident),
      megabytes(plan.estimate(options).host_bytes));
}

}  // namespace

void show(const std::filesystem::path& path, unsigned threads) {
  fmt::print("{}\n", path.string());
  const Clock::time_point begin = Clock::now();
  const heft::Checkpoint checkpoint = heft::open(path);
  const double open_seconds = seconds_since(begin);
  inspect(checkpoint, open_seconds);
  show_slice(checkpoint);
  const double resident = resident_share(files_of(path));
  fmt::print("\n   ({:.0f} % of the files are in the page cache)\n", resident * 100);
  load(checkpoint, threads);
}

}  // namespace bench
