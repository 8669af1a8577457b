#include "heft/stream.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <future>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "materialize/workers_state.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;

constexpr int tensors = 40;

// Forty tensors of 1 MB.
std::string model() {
  test::SafetensorsBuilder file;
  for (int i = 0; i < tensors; ++i)
    file.add("t" + std::to_string(i), "F32", {500, 500}, test::pattern(1'000'000, static_cast<std::uint32_t>(i + 1)));
  return file.build();
}

LoadPlan plan_backwards(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (int i = tensors; i-- > 0;) plan.add(checkpoint.tensor("t" + std::to_string(i)));
  return plan;
}

// Gives the only thread of Workers something to do.
class Blocked {
 public:
  explicit Blocked(Workers& workers) {
    REQUIRE(crew_.start(engine::WorkersAccess::pool(workers), [this] { gate_.get_future().wait(); }));
  }
  ~Blocked() { gate_.set_value(); }

 private:
  std::promise<void> gate_;
  engine::Crew crew_;
};

}  // namespace

TEST_CASE("stream: tensors come in file order, whole, whatever the plan's order and the bound") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  for (const std::uint64_t bound : {std::uint64_t{0}, std::uint64_t{5'000'000}, std::uint64_t{1} << 30}) {
    int number = 0;
    TensorStream tensors_of_plan = stream(plan_backwards(checkpoint), {.threads = 2}, {.in_flight_bytes = bound});
    for (const Tensor& tensor : tensors_of_plan) {
      REQUIRE(tensor.name() == "t" + std::to_string(number));
      const Bytes expected = checkpoint.tensor(tensor.name()).bytes();
      REQUIRE(tensor.bytes().size() == expected.size_bytes());
      CHECK(std::memcmp(tensor.bytes().data(), expected.data(), expected.size_bytes()) == 0);
      ++number;
    }
    CHECK(number == tensors);
    CHECK(tensors_of_plan.stats().bytes_written == tensors * 1'000'000);
    CHECK(tensors_of_plan.stats().bytes_read == tensors * 1'000'000);
    CHECK_FALSE(tensors_of_plan.next().has_value());
  }
}

TEST_CASE("stream: tensors come in the requested order, on every path, loaded by workers or by the consumer") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  // The second one has no thread, so that the consumer loads.
  const auto none = std::make_shared<Workers>(1);
  Blocked blocked(*none);
  for (const std::shared_ptr<Workers>& workers : {std::shared_ptr<Workers>(), none})
    for (const StreamOrder order : {StreamOrder::file, StreamOrder::plan, StreamOrder::as_finished})
      for (const IoMethod method : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read})
        for (const std::uint64_t bound : {std::uint64_t{0}, std::uint64_t{10'000'000}}) {
          CAPTURE(name(method));
          CAPTURE(bound);
          TensorStream all = stream(plan_backwards(checkpoint), {.threads = 3, .io_method = method, .workers = workers},
                                    {.order = order, .in_flight_bytes = bound});
          std::set<std::string> names;
          for (int number = 0; const Tensor& tensor : all) {
            const int expected = order == StreamOrder::plan ? tensors - 1 - number : number;
            if (order != StreamOrder::as_finished) REQUIRE(tensor.name() == "t" + std::to_string(expected));
            const Bytes bytes = checkpoint.tensor(tensor.name()).bytes();
            REQUIRE(std::memcmp(tensor.bytes().data(), bytes.data(), bytes.size_bytes()) == 0);
            names.insert(tensor.name());
            ++number;
          }
          CHECK(names.size() == tensors);
          CHECK(all.stats().bytes_written == tensors * 1'000'000);
          CHECK((all.stats().threads == 1) == (workers == none));
        }
}

TEST_CASE("stream: two streams on one thread, taken in turns, both come to their end") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const auto workers = std::make_shared<Workers>(1);
  TensorStream one = stream(plan_backwards(checkpoint), {.workers = workers}, {.in_flight_bytes = 2'000'000});
  TensorStream two = stream(plan_backwards(checkpoint), {.workers = workers}, {.in_flight_bytes = 2'000'000});
  for (int number = 0; number < tensors; ++number) {
    CHECK(two.next()->name() == "t" + std::to_string(number));
    CHECK(one.next()->name() == "t" + std::to_string(number));
  }
  CHECK_FALSE(one.next().has_value());
  CHECK_FALSE(two.next().has_value());
}

TEST_CASE("stream: less than 1 MiB is loaded by the thread that takes it") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  plan.add(checkpoint.tensor("t0").slice(0, 0, 250));
  std::thread::id reporter;
  TensorStream small = stream(plan, {.progress = [&](const Progress&) { reporter = std::this_thread::get_id(); }});
  CHECK(small.next().has_value());
  CHECK_FALSE(small.next().has_value());
  CHECK(reporter == std::this_thread::get_id());
  CHECK(small.stats().threads == 1);
  CHECK(small.stats().notes.empty());
}

TEST_CASE("stream: tensors that are kept stay as they are while others come and go") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::vector<Tensor> kept;
  {
    TensorStream all = stream(plan_backwards(checkpoint), {}, {.in_flight_bytes = 4'000'000});
    while (std::optional<Tensor> tensor = all.next())
      if (tensor->name().back() == '3') kept.push_back(*std::move(tensor));
  }
  REQUIRE(kept.size() == 4);
  for (const Tensor& tensor : kept) {
    const Bytes expected = checkpoint.tensor(tensor.name()).bytes();
    CHECK(std::memcmp(tensor.bytes().data(), expected.data(), expected.size_bytes()) == 0);
  }
}

TEST_CASE("stream: released memory is used again") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::set<const std::byte*> places;
  for (const Tensor& tensor : stream(plan_backwards(checkpoint), {}, {.in_flight_bytes = 4'000'000}))
    places.insert(tensor.bytes().data());
  CHECK(places.size() <= 8);
}

TEST_CASE("stream: a consumer that stops early, or never begins, leaves nothing running") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  { const TensorStream untouched = stream(plan_backwards(checkpoint), {}, {.in_flight_bytes = 2'000'000}); }
  TensorStream some = stream(plan_backwards(checkpoint), {}, {.in_flight_bytes = 4'000'000});
  CHECK(some.next()->name() == "t0");
  CHECK(some.next()->name() == "t1");
}

TEST_CASE("stream: no report is more than the bound ahead of the tensors that the consumer has released") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::atomic<std::uint64_t> through = 0;  // bytes of tensors before the one that is asked for
  std::atomic<std::size_t> reports = 0;
  std::atomic<bool> is_over = false;
  const auto report = [&](const Progress& progress) {
    ++reports;
    if (progress.bytes_done > through + 4'000'000) is_over = true;
  };
  TensorStream all =
      stream(plan_backwards(checkpoint), {.threads = 2, .progress = report}, {.in_flight_bytes = 4'000'000});
  for (int number = 0; number < tensors; ++number) {
    through = static_cast<std::uint64_t>(number) * 1'000'000;
    CHECK(all.next()->name() == "t" + std::to_string(number));
  }
  CHECK_FALSE(all.next().has_value());
  CHECK_FALSE(is_over);
  CHECK(reports >= tensors);  // the quarter of the bound is one tensor, which ends with a report
}

TEST_CASE("stream: a stop request, a failing callback and a forbidden option are errors, once") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::stop_source stop;
  TensorStream stopped = stream(plan_backwards(checkpoint), {.stop = stop.get_token()}, {.in_flight_bytes = 2'000'000});
  CHECK(stopped.next().has_value());
  stop.request_stop();
  CHECK(test::thrown_by([&] {
          while (stopped.next()) {
          }
        }).code() == ErrorCode::cancelled);
  CHECK_FALSE(stopped.next().has_value());
  std::uint64_t last = 0;
  TensorStream reported = stream(plan_backwards(checkpoint),
                                 {.progress =
                                      [&](const Progress& progress) {
                                        CHECK(progress.bytes_total == tensors * 1'000'000);
                                        CHECK(progress.bytes_done >= last);
                                        last = progress.bytes_done;
                                      }},
                                 {.in_flight_bytes = 4'000'000});
  while (reported.next()) {
  }
  CHECK(last == tensors * 1'000'000);
}

TEST_CASE("stream: an exception of the consumer ends the stream, and nothing of it stays behind") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::atomic<std::uint64_t> done = 0;
  auto callback = std::make_shared<int>();  // held by every copy of the callback
  const std::weak_ptr<int> held = callback;
  const auto consume = [&] {
    const auto report = [&done, kept = std::move(callback)](const Progress& progress) { done = progress.bytes_done; };
    for (const Tensor& tensor :
         stream(plan_backwards(checkpoint), {.threads = 2, .progress = report}, {.in_flight_bytes = 4'000'000}))
      if (tensor.name() == "t2") throw std::runtime_error("enough");
  };
  CHECK_THROWS_AS(consume(), std::runtime_error);
  // The workers have ended, and nothing that could report is left.
  CHECK(held.expired());
  CHECK(done <= 3'000'000 + 4'000'000);
}

TEST_CASE("stream: an empty plan streams nothing") {
  TensorStream nothing = stream(LoadPlan());
  CHECK_FALSE(nothing.next().has_value());
}
