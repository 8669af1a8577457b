// The parts of a stream, each alone: groups, the queue, the sink.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/plan.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/stream_sink.hpp"
#include "materialize/stream_groups.hpp"
#include "materialize/stream_queue.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using engine::StreamGroups;
using engine::StreamQueue;

// Tensors of 400, 0, 800, 4000, 400 and 400 bytes, in this order in the file.
struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint;

  Model() : checkpoint(heft::open(folder.write("model.safetensors", file()))) {}

  static std::string file() {
    test::SafetensorsBuilder builder;
    const std::int64_t sizes[] = {400, 0, 800, 4000, 400, 400};
    for (std::uint32_t i = 0; i < std::size(sizes); ++i)
      builder.add(std::string(1, static_cast<char>('a' + i)), "U8", {sizes[i]},
                  test::pattern(static_cast<std::size_t>(sizes[i]), i + 1));
    return builder.build();
  }

  [[nodiscard]] LoadPlan plan(const std::string& names) const {
    LoadPlan plan;
    for (const char name : names) plan.add(checkpoint.tensor(std::string(1, name)));
    return plan;
  }
};

// The names of the tensors of each group.
std::vector<std::string> names_of(const LoadPlan& plan, const StreamGroups& groups) {
  std::vector<std::string> names;
  for (const engine::StreamGroup& group : groups.groups) {
    names.emplace_back();
    for (const std::uint32_t entry : groups.entries_of(group)) {
      names.back() += plan[entry].name;
      CHECK(groups.group_of[entry] == names.size() - 1);
    }
  }
  return names;
}

Tensor tensor(const std::string& name) { return Tensor(name, DType::u8, Shape{0}, Strides{1}, Bytes()); }

std::string taken(StreamQueue& queue) {
  const std::optional<Tensor> next = queue.take();
  return next ? next->name() : "";
}

}  // namespace

TEST_CASE("stream groups: they follow the order, and none is larger than the bound unless it is one tensor") {
  const Model model;
  const LoadPlan plan = model.plan("fedcba");
  const auto groups = [&](StreamOrder order, std::uint64_t bound) {
    const StreamGroups of = StreamGroups::of(plan, order, bound, 64);
    CHECK(of.sizes().size() == of.groups.size());
    return names_of(plan, of);
  };
  using Names = std::vector<std::string>;
  CHECK(groups(StreamOrder::plan, 0) == Names{"f", "e", "d", "cb", "a"});
  CHECK(groups(StreamOrder::file, 0) == Names{"b", "a", "c", "d", "e", "f"});
  CHECK(groups(StreamOrder::file, 1200) == Names{"bac", "d", "ef"});
  CHECK(groups(StreamOrder::as_finished, 1200) == Names{"bac", "d", "ef"});
  CHECK(groups(StreamOrder::plan, 1200) == Names{"fe", "d", "cba"});
  CHECK(groups(StreamOrder::plan, 1u << 20) == Names{"fedcba"});
}

TEST_CASE("stream groups: tensors lie aligned behind each other, those of the caller's buffers take no memory") {
  const Model model;
  LoadPlan plan;
  std::vector<std::byte> buffer(800);
  plan.add(model.checkpoint.tensor("a"));
  plan.add(model.checkpoint.tensor("c"), DType::u8, buffer);
  plan.add(model.checkpoint.tensor("e"));
  const StreamGroups groups = StreamGroups::of(plan, StreamOrder::plan, 1u << 20, 256);
  REQUIRE(groups.groups.size() == 1);
  CHECK(groups.groups[0].size_bytes == 1600);
  CHECK(groups.groups[0].arena_bytes == 512 + 400);
  CHECK(groups.offsets == std::vector<std::uint64_t>{0, 0, 512});
}

TEST_CASE("stream schedule: chunks come in the order of the groups, and none is of two") {
  const Model model;
  const LoadPlan plan = model.plan("fedcba");
  const StreamGroups groups = StreamGroups::of(plan, StreamOrder::plan, 1200, 64);
  const auto schedule = engine::compile(engine::PlanAccess::shared_transfers(plan), {}, groups.group_of);
  std::vector<std::uint32_t> numbers;
  for (const engine::Chunk& chunk : schedule->chunks) {
    numbers.push_back(chunk.group);
    for (const engine::Part& part : schedule->parts_of(chunk))
      CHECK(groups.group_of[engine::position(schedule->transfer(part).entry)] == chunk.group);
  }
  CHECK(numbers == std::vector<std::uint32_t>{0, 1, 2});
  // Each steps back in the file, which a batch does not.
  CHECK(schedule->batches.size() == 3);
  CHECK(schedule->sizes.written == 6000);
  CHECK(schedule->sizes.read == 6000);
}

TEST_CASE("stream queue: groups get room in order, up to the bound, and one of any size where no other has any") {
  StreamQueue queue({60, 40, 1, 500, 1}, 100, true);
  CHECK(queue.enter(0));
  CHECK(queue.enter(1));
  CHECK_FALSE(queue.enter(2));
  queue.put(0, {tensor("a")});
  queue.put(1, {tensor("b")});
  CHECK(taken(queue) == "a");
  CHECK_FALSE(queue.enter(2));  // the consumer still has it
  CHECK(taken(queue) == "b");
  CHECK(queue.enter(2));
  CHECK_FALSE(queue.enter(3));
  queue.put(2, {tensor("c")});
  CHECK(taken(queue) == "c");
  CHECK_FALSE(queue.enter(3));
  CHECK_FALSE(queue.can_take());  // which releases what was taken
  CHECK(queue.enter(3));
  CHECK_FALSE(queue.enter(4));
}

TEST_CASE("stream queue: a wait for a group's room ends when another thread has given it room") {
  StreamQueue queue({60, 60, 60}, 100, true);
  CHECK(queue.enter(0));
  CHECK(queue.await_room(0));
  std::atomic<bool> came = false;
  {
    std::jthread waiting([&] {
      CHECK(queue.await_room(1));
      came = true;
    });
    queue.put(0, {tensor("a")});
    CHECK(taken(queue) == "a");
    CHECK_FALSE(queue.can_take());
    CHECK(queue.enter(1));
  }
  CHECK(came);
  // No more fits, but this one has room.
  CHECK_FALSE(queue.enter(2));
  CHECK(queue.await_room(1));
}

TEST_CASE("stream queue: groups come in order or as they are finished, then the end, or the failure once") {
  StreamQueue ordered({1, 1, 1}, 100, true);
  ordered.put(1, {tensor("b"), tensor("c")});
  CHECK_FALSE(ordered.can_take());
  ordered.put(0, {tensor("a")});
  CHECK(taken(ordered) == "a");
  CHECK(taken(ordered) == "b");
  CHECK(ordered.can_take());
  ordered.end(std::make_exception_ptr(std::runtime_error("enough")));
  CHECK(taken(ordered) == "c");
  CHECK_THROWS_WITH_AS((void)ordered.take(), "enough", std::runtime_error);
  CHECK_FALSE(ordered.take().has_value());
  StreamQueue unordered({1, 1, 1}, 100, false);
  unordered.put(2, {tensor("c")});
  unordered.put(0, {tensor("a")});
  unordered.end(nullptr);
  CHECK(taken(unordered) == "c");
  CHECK(taken(unordered) == "a");
  CHECK_FALSE(unordered.take().has_value());
}

TEST_CASE("stream queue: stopping it ends the waiting for room, and leaves what is ready") {
  StreamQueue queue({60, 60}, 100, true);
  CHECK(queue.enter(0));
  queue.put(0, {tensor("a")});
  {
    std::jthread waiting([&] { CHECK_FALSE(queue.await_room(1)); });
    queue.stop();
  }
  CHECK(taken(queue) == "a");
}

TEST_CASE(
    "stream sink: a group has memory when its first chunk enters, and is handed out when its last byte is there") {
  const Model model;
  const LoadPlan plan = model.plan("abcdef");
  const StreamGroups groups = StreamGroups::of(plan, StreamOrder::file, 1200, 64);
  const auto schedule = engine::compile(engine::PlanAccess::shared_transfers(plan), {}, groups.group_of);
  REQUIRE(schedule->chunks.size() == 3);
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, schedule->sizes.written);
  StreamQueue queue(groups.sizes(), 5200, true);
  const auto arenas = std::make_shared<engine::ArenaPool>(8, 1u << 20);
  engine::StreamSink sink({.plan = plan,
                           .schedule = *schedule,
                           .groups = groups,
                           .monitor = monitor,
                           .receiver = queue,
                           .arenas = *arenas});
  const auto bytes = [&](std::size_t chunk) {
    const engine::Range range = schedule->chunks[chunk].range;
    return schedule->source(schedule->chunks[chunk].source).mapped().data() + range.begin;
  };
  // The second one's turn gives the first one room too; the third does not fit.
  CHECK(sink.enter(schedule->chunks[1]));
  CHECK(sink.enter(schedule->chunks[0]));
  CHECK_FALSE(sink.enter(schedule->chunks[2]));
  const engine::Chunk& large = schedule->chunks[1];
  const engine::Range first{large.range.begin, large.range.begin + 1000};
  sink.write(large, first, bytes(1));
  const engine::InPlaceRun rest = sink.in_place_run(large, first.end);
  CHECK(rest.size == 3000);
  std::memcpy(rest.to, bytes(1) + 1000, rest.size);
  sink.filled(large, rest.size);
  CHECK_FALSE(queue.can_take());  // "d" is whole, and not the first
  sink.write(schedule->chunks[0], schedule->chunks[0].range, bytes(0));
  for (const std::string name : {"b", "a", "c", "d"}) {
    const std::optional<Tensor> next = queue.take();
    REQUIRE(next.has_value());
    CHECK(next->name() == name);
    const Bytes expected = model.checkpoint.tensor(name).bytes();
    CHECK(next->bytes().size() == expected.size_bytes());
    CHECK(std::equal(next->bytes().begin(), next->bytes().end(), expected.span().begin()));
  }
  CHECK(sink.enter(schedule->chunks[2]));
  sink.close();
  CHECK_FALSE(sink.await_room(schedule->chunks[2]));
}

TEST_CASE("stream sink: tensors are compared with their file after their last byte, before they are handed out") {
  const Model model;
  const LoadPlan plan = model.plan("ad");
  const StreamGroups groups = StreamGroups::of(plan, StreamOrder::file, 1, 64);
  const auto schedule = engine::compile(engine::PlanAccess::shared_transfers(plan), {}, groups.group_of);
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, schedule->sizes.written);
  StreamQueue queue(groups.sizes(), 1u << 20, true);
  const auto arenas = std::make_shared<engine::ArenaPool>(8, 1u << 20);
  engine::StreamSink sink({.plan = plan,
                           .schedule = *schedule,
                           .groups = groups,
                           .monitor = monitor,
                           .receiver = queue,
                           .arenas = *arenas});
  const std::vector<std::byte> bytes(4000);
  const engine::Chunk& first = schedule->chunks[0];
  CHECK(sink.enter(first));
  sink.write(first, first.range, bytes.data());
  CHECK(queue.can_take());
  model.folder.write("model.safetensors", Model::file() + "more");
  const engine::Chunk& second = schedule->chunks[1];
  CHECK(sink.enter(second));
  CHECK(test::thrown_by([&] { sink.write(second, second.range, bytes.data()); }).code() == ErrorCode::changed_on_disk);
}
