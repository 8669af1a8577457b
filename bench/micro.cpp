// The cost of single calls: a lookup by name, a slice with a typed view, a walk of the tree, a glob, a binding of a
// struct. Most also count allocations; the first two make none.
//
// usage: heft-micro CHECKPOINT [--benchmark_...]
// CHECKPOINT: one with many tensors, such as the one of `heft-bench make deepseek-v3`
#include <exception>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "allocations.hpp"
#include "bind_subject.hpp"
#include "heft/checkpoint.hpp"

namespace {

struct Subject {
  heft::Checkpoint checkpoint;
  std::vector<std::string> names;     // in an order that prefetching does not predict
  std::vector<std::string> matrices;  // bf16, two dims, the first divisible by 8
};

// Returns every name once, in steps of a prime. Requires that the prime does not divide their number.
std::vector<std::string> scattered(std::vector<std::string> names) {
  std::vector<std::string> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < names.size(); ++i) out.push_back(names[at = (at + 7919) % names.size()]);
  return out;
}

Subject prepare(const char* path) {
  Subject s{heft::open(path), {}, {}};
  for (const heft::TensorView& view : s.checkpoint.tensors()) {
    s.names.emplace_back(view.name());
    if (view.dtype() == heft::DType::bf16 && view.rank() == 2 && view.shape()[0] % 8 == 0)
      s.matrices.emplace_back(view.name());
  }
  s.names = scattered(std::move(s.names));
  s.matrices = scattered(std::move(s.matrices));
  return s;
}

class AllocationCount {
 public:
  explicit AllocationCount(benchmark::State& state) : state_(state), before_(bench::allocation_count()) {}
  ~AllocationCount() {
    state_.counters["allocations"] = benchmark::Counter(static_cast<double>(bench::allocation_count() - before_),
                                                        benchmark::Counter::kAvgIterations);
  }
  AllocationCount(const AllocationCount&) = delete;
  AllocationCount& operator=(const AllocationCount&) = delete;

 private:
  benchmark::State& state_;
  std::uint64_t before_;
};

void lookup(benchmark::State& state, const Subject& s) {
  std::size_t at = 0;
  const AllocationCount count(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(s.checkpoint.find(s.names[at]));
    at = at + 1 == s.names.size() ? 0 : at + 1;
  }
}

void slice_and_type(benchmark::State& state, const Subject& s) {
  if (s.matrices.empty()) return state.SkipWithError("no bf16 matrix to slice");
  std::vector<heft::TensorView> views;
  for (const std::string& name : s.matrices) views.push_back(s.checkpoint.tensor(name));
  std::size_t at = 0;
  const AllocationCount count(state);
  for (auto _ : state) {
    const heft::TensorView part = views[at].shard(0, 3, 8);
    benchmark::DoNotOptimize(part.as<heft::bf16>());
    at = at + 1 == views.size() ? 0 : at + 1;
  }
}

std::uint64_t walk(const heft::Record& record) {
  if (record.kind() == heft::RecordKind::tensor) return 1;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < record.size(); ++i) sum += walk(record.child(i));
  return sum;
}

void walk_tree(benchmark::State& state, const Subject& s) {
  const heft::Record root = s.checkpoint.root();
  std::uint64_t tensors = 0;
  for (auto _ : state) tensors += walk(root);
  state.SetItemsProcessed(static_cast<std::int64_t>(tensors));
}

void list(benchmark::State& state, const Subject& s, std::string_view pattern) {
  const AllocationCount count(state);
  for (auto _ : state)
    benchmark::DoNotOptimize(pattern.empty() ? s.checkpoint.tensors().size() : s.checkpoint.tensors(pattern).size());
  state.SetItemsProcessed(static_cast<std::int64_t>(s.names.size()) * state.iterations());
}

void open_again(benchmark::State& state, const Subject& s) {
  const AllocationCount count(state);
  for (auto _ : state) benchmark::DoNotOptimize(heft::open(s.checkpoint.path()).tensors().size());
}

// A struct of 292 tensors filled with views.
void bind_llama(benchmark::State& state) {
  const heft::Checkpoint checkpoint = bench::tiny_llama();
  const heft::Record root = checkpoint.root();
  const AllocationCount count(state);
  for (auto _ : state) {
    bench::Llama llama;
    if (heft::bind(root, llama).applied.size() != bench::llama_tensors) return state.SkipWithError("not all was bound");
  }
}

void add_benchmarks(const Subject& s) {
  benchmark::RegisterBenchmark("lookup by full name", [&s](benchmark::State& state) { lookup(state, s); });
  benchmark::RegisterBenchmark("shard, then as<bf16>", [&s](benchmark::State& state) { slice_and_type(state, s); });
  benchmark::RegisterBenchmark("walk of the tree", [&s](benchmark::State& state) { walk_tree(state, s); });
  benchmark::RegisterBenchmark("glob *.q_*.weight", [&s](benchmark::State& state) { list(state, s, "*.q_*.weight"); });
  benchmark::RegisterBenchmark(
      "regex", [&s](benchmark::State& state) { list(state, s, R"(re:model\.layers\.[0-9]+\.mlp\..*)"); });
  benchmark::RegisterBenchmark("bind of 292 tensors", bind_llama)->Unit(benchmark::kMicrosecond);
  benchmark::RegisterBenchmark("open", [&s](benchmark::State& state) {
    open_again(state, s);
  })->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) return fmt::print(stderr, "usage: heft-micro CHECKPOINT [--benchmark_...]\n"), 2;
  try {
    const Subject subject = prepare(argv[1]);
    add_benchmarks(subject);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    fmt::print(stderr, "heft-micro: {}\n", error.what());
    return 2;
  }
  return 0;
}
