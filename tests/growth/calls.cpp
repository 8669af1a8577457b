#include "calls.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "cli_run.hpp"
#include "heft/adapter.hpp"
#include "heft/bind.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/remap.hpp"
#include "heft/save.hpp"
#include "heft/stream.hpp"

namespace heft::test {
namespace {

void run_command(std::initializer_list<std::string> words, int status = 0) {
  const CliRun run = heft_command(words);
  CHECK_MESSAGE(run.status == status, run.err.substr(0, 300));
}

// Every record, by its place; returns their number.
std::size_t walk(const Record& root) {
  std::vector<Record> left{root};
  std::size_t count = 0;
  while (!left.empty()) {
    const Record record = std::move(left.back());
    left.pop_back();
    ++count;
    for (std::size_t i = 0; i < record.size(); ++i) left.push_back(record.child(i));
  }
  return count;
}

// Every child of every container, by its key.
void find_all(const Record& root) {
  std::vector<Record> left{root};
  while (!left.empty()) {
    const Record record = std::move(left.back());
    left.pop_back();
    for (std::size_t i = 0; i < record.size(); ++i) {
      REQUIRE(record.find(record.key(i)));
      left.push_back(record.child(i));
    }
  }
}

// The path of every record, each in one line.
void path_of_all(const Record& root) {
  std::vector<Record> left{root};
  std::size_t bytes = 0;
  while (!left.empty()) {
    const Record record = std::move(left.back());
    left.pop_back();
    bytes += record.path().size();
    for (std::size_t i = 0; i < record.size(); ++i) left.push_back(record.child(i));
  }
  CHECK(bytes >= root.size());
}

void find_every_name(const std::string& path) {
  const Checkpoint checkpoint = open(path);
  const Record root = checkpoint.root();
  for (const TensorView& view : checkpoint.tensors()) {
    REQUIRE(checkpoint.find(view.name()));
    REQUIRE(root.find(view.name()));
  }
}

// A name that is not there, 20 times: the work for the nearest names is bounded for each.
void look_up_missing(const std::string& path) {
  const Checkpoint checkpoint = open(path);
  for (int i = 0; i < 20; ++i) {
    CHECK_THROWS_AS(static_cast<void>(checkpoint.tensor("tensor0000x00")), Error);
    CHECK_THROWS_AS(static_cast<void>(checkpoint.root()["tensor0000x00"]), Error);
  }
}

void plan_all(const std::string& path) {
  LoadPlan plan;
  for (const TensorView& view : open(path).tensors()) plan.add(view);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) sum += plan.estimate().bytes_written;
  CHECK(sum / plan.size() == plan.estimate().bytes_written);
  CHECK(plan.estimate().bytes_read > 0);
  CHECK(plan.estimate().host_bytes > plan.estimate().bytes_written);
}

std::vector<TensorView> views_of(const std::string& path) {
  std::vector<TensorView> views;
  for (const TensorView& view : open(path).tensors()) views.push_back(view);
  return views;
}

void join_all(const std::string& path) {
  const std::vector<TensorView> views = views_of(path);
  LoadPlan plan;
  plan.add(concat("concat", views, 0));
  plan.add(stack("stack", views, 0));
  std::vector<Piece> pieces;
  std::int64_t rows = 0;
  for (const TensorView& view : views) {
    Dims at(view.rank(), 0);
    at[0] = std::exchange(rows, rows + view.shape()[0]);
    pieces.push_back({view, std::move(at)});
  }
  Shape shape = views.front().shape();
  shape[0] = rows;
  plan.add(TensorView::over_pieces("joined", std::move(shape), std::move(pieces)));
  CHECK(materialize(plan).size() == 3);
}

void stream_all(const std::string& path) {
  LoadPlan plan;
  for (const TensorView& view : open(path).tensors()) plan.add(view);
  std::size_t count = 0;
  for (const Tensor& tensor : stream(plan, {}, {.in_flight_bytes = 4096})) count += tensor.name().empty() ? 0 : 1;
  CHECK(count == plan.size());
}

void bind_all(const std::string& path) {
  std::map<std::string, Record> all;
  CHECK(try_bind(open(path).root(), all).ok());
}

void rename_all(const std::string& path) {
  const Checkpoint renamed = remap(open(path), Remapping().add("^(.*)$", "prefix.$1"));
  CHECK(renamed.root().size() <= 1);
}

void adapt_all(const std::string& path) {
  const Checkpoint adapted = adapt(
      open(path), [](TensorView view) { return view.renamed("prefix." + std::string(view.name())); },
      Filter().matching("*"));
  CHECK(adapted.tensors("*").size() == adapted.tensors().size());
}

}  // namespace

std::vector<Call> looking_calls() {
  return {
      {"heft ls", [](const std::string& path) { run_command({"ls", path}); }},
      {"heft ls --json", [](const std::string& path) { run_command({"ls", "--json", path}); }},
      {"heft tree", [](const std::string& path) { run_command({"tree", path}); }},
      {"heft tree --json", [](const std::string& path) { run_command({"tree", "--json", path}); }},
      {"heft tree --metadata", [](const std::string& path) { run_command({"tree", "--json", "--metadata", path}); }},
      {"heft show, no such name", [](const std::string& path) { run_command({"show", path, "tensor000x001"}, 2); }},
      {"root(), every child", [](const std::string& path) { CHECK(walk(open(path).root()) > 0); }},
      {"root(), every key", [](const std::string& path) { find_all(open(path).root()); }},
      {"metadata(), every key", [](const std::string& path) { find_all(open(path).metadata()); }},
      {"path(), every record", [](const std::string& path) { path_of_all(open(path).root()); }},
      {"find(), every name", find_every_name},
      {"[], no such name", look_up_missing, 4},
      {"bind()", bind_all},
      {"remap()", rename_all},
      {"adapt()", adapt_all},
  };
}

std::vector<Call> reading_calls(const std::string& folder) {
  const auto convert = [folder](const std::string& path, const std::string& name) {
    const std::string to = folder + "/out/" + name;
    std::filesystem::create_directories(folder + "/out");
    run_command({"convert", path, to});
    std::filesystem::remove_all(folder + "/out");
  };
  const auto convert_to_shards = [folder](const std::string& path) {
    std::filesystem::create_directories(folder + "/out");
    run_command({"convert", path, folder + "/out", "--shard-size", "40"});
    std::filesystem::remove_all(folder + "/out");
  };
  return {
      {"heft hash", [](const std::string& path) { run_command({"hash", path}); }},
      {"heft verify", [](const std::string& path) { run_command({"verify", path}); }},
      {"heft load", [](const std::string& path) { run_command({"load", path}); }},
      {"heft diff", [](const std::string& path) { run_command({"diff", path, path}); }, 4},
      {"convert to safetensors", [convert](const std::string& path) { convert(path, "m.safetensors"); }},
      {"convert to npz", [convert](const std::string& path) { convert(path, "m.npz"); }},
      {"convert to gguf", [convert](const std::string& path) { convert(path, "m.gguf"); }},
      {"convert to shards", convert_to_shards, 8},
      {"plan.add(), its figures", plan_all},
      {"concat(), stack()", join_all, 2},
      {"stream()", stream_all},
      {"verify_checksums()", [](const std::string& path) { CHECK(open(path).verify_checksums().empty()); }},
  };
}

}  // namespace heft::test
