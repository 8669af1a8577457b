// Threads that loads borrow: the pool alone, and loads that share Workers.
#include "heft/workers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "materialize/thread_pool.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;

// Threads that wait at it until it is opened.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return is_open_; });
  }
  void await(unsigned threads) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= threads; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned waiting_ = 0;
  bool is_open_ = false;
};

// A model of 24 MB: enough for six threads, on any method.
struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint;
  LoadPlan plan;

  Model() : checkpoint(heft::open(folder.write("model.safetensors", file()))) {
    for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  }

  static std::string file() {
    test::SafetensorsBuilder builder;
    for (std::uint32_t i = 0; i < 24; ++i)
      builder.add("t" + std::to_string(i), "F32", {500, 500}, test::pattern(1'000'000, i + 1));
    return builder.build();
  }

  void require_whole(const Weights& loaded) const {
    for (const Tensor& tensor : loaded) {
      const Bytes expected = checkpoint.tensor(tensor.name()).bytes();
      REQUIRE(tensor.bytes().size() == expected.size_bytes());
      REQUIRE(std::memcmp(tensor.bytes().data(), expected.data(), expected.size_bytes()) == 0);
    }
  }
};

}  // namespace

TEST_CASE("workers: a pool runs work on idle threads only, and queues none") {
  engine::ThreadPool pool(2);
  CHECK(pool.threads() == 2);
  Gate gate;
  engine::Crew crew;
  CHECK(crew.start(pool, [&] { gate.wait(); }));
  CHECK(crew.start(pool, [&] { gate.wait(); }));
  CHECK_FALSE(crew.start(pool, [] {}));
  gate.await(2);
  gate.open();
  crew.wait();
  // A thread is idle before its crew hears of it.
  std::atomic<int> calls = 0;
  CHECK(crew.start(pool, [&] { ++calls; }));
  CHECK(crew.start(pool, [&] { ++calls; }));
  crew.wait();
  CHECK(calls == 2);
}

TEST_CASE("workers: calls on a pool are the caller's and those of idle threads") {
  engine::ThreadPool pool(3);
  std::mutex mutex;
  std::vector<unsigned> numbers;
  const auto note = [&](unsigned worker) {
    const std::lock_guard lock(mutex);
    numbers.push_back(worker);
  };
  CHECK(engine::run_workers(&pool, 3, note) == 3);
  CHECK(numbers.size() == 3);
  numbers.clear();
  CHECK(engine::run_workers(nullptr, 3, note) == 1);
  CHECK(numbers == std::vector<unsigned>{0});
  numbers.clear();
  // Work that starts work on the same pool finds what is left of it.
  std::atomic<unsigned> inner = 0;
  CHECK(engine::run_workers(&pool, 2, [&](unsigned worker) {
          if (worker == 0) inner = engine::run_workers(&pool, 8, [](unsigned) {});
        }) == 2);
  CHECK(inner >= 3);
  CHECK(inner <= 4);
}

TEST_CASE("workers: loads one after the other borrow the same threads") {
  const Model model;
  const auto workers = std::make_shared<Workers>(2);
  CHECK(workers->threads() == 2);
  for (const IoMethod method : {IoMethod::automatic, IoMethod::map, IoMethod::read, IoMethod::direct}) {
    const Weights loaded = materialize(model.plan, {.threads = 4, .io_method = method, .workers = workers});
    CHECK(loaded.stats().threads == 3);
    model.require_whole(loaded);
  }
  CHECK(materialize(model.plan, {.threads = 2, .workers = workers}).stats().threads == 2);
  CHECK(workers.use_count() == 1);
}

TEST_CASE("workers: several loads at once share them, and each is whole") {
  const Model model;
  const auto workers = std::make_shared<Workers>(3);
  std::vector<std::jthread> callers;
  std::mutex mutex;
  std::vector<Weights> loads;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int turn = 0; turn < 4; ++turn) {
        Weights loaded = materialize(model.plan, {.threads = 3, .workers = workers});
        const std::lock_guard lock(mutex);
        loads.push_back(std::move(loaded));
      }
    });
  callers.clear();
  REQUIRE(loads.size() == 16);
  for (const Weights& loaded : loads) {
    CHECK(loaded.stats().threads >= 1);
    CHECK(loaded.stats().threads <= 3);
    model.require_whole(loaded);
  }
}

TEST_CASE("workers: a load in a callback of another, on the same threads, comes to its end") {
  const Model model;
  for (const unsigned threads : {1u, 3u}) {
    const auto workers = std::make_shared<Workers>(threads);
    std::optional<Weights> inner;
    const auto report = [&](const Progress&) {
      if (!inner) inner = materialize(model.plan, {.threads = 4, .workers = workers});
    };
    const Weights outer = materialize(model.plan, {.threads = 4, .progress = report, .workers = workers});
    CHECK(outer.stats().threads >= 2);
    CHECK(outer.stats().threads <= threads + 1);
    REQUIRE(inner.has_value());
    model.require_whole(*inner);
    model.require_whole(outer);
  }
}

TEST_CASE("workers: a load keeps the threads that its caller releases meanwhile") {
  const Model model;
  auto workers = std::make_shared<Workers>(2);
  const std::weak_ptr<Workers> alive = workers;
  TensorStream tensors =
      stream(model.plan, {.threads = 2, .workers = std::move(workers)}, {.in_flight_bytes = 4'000'000});
  std::size_t count = 0;
  while (tensors.next()) {
    CHECK_FALSE(alive.expired());
    ++count;
  }
  CHECK(count == 24);
  { const TensorStream ended = std::move(tensors); }
  CHECK(alive.expired());
}

TEST_CASE("workers: after a failure and after a stop request they are idle again") {
  const Model model;
  const auto workers = std::make_shared<Workers>(2);
  const auto fail = [](const Progress&) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH_AS((void)materialize(model.plan, {.threads = 3, .progress = fail, .workers = workers}), "enough",
                       std::runtime_error);
  std::stop_source stop;
  const auto ask = [&](const Progress&) { stop.request_stop(); };
  CHECK(test::thrown_by([&] {
          (void)materialize(model.plan, {.threads = 3, .progress = ask, .stop = stop.get_token(), .workers = workers});
        }).code() == ErrorCode::cancelled);
  const Weights loaded = materialize(model.plan, {.threads = 3, .workers = workers});
  CHECK(loaded.stats().threads == 3);
  model.require_whole(loaded);
}

TEST_CASE("workers: a load below 1 MiB runs on the calling thread, with and without them") {
  const Model model;
  const auto workers = std::make_shared<Workers>(2);
  LoadPlan small;
  small.add(model.checkpoint.tensor("t0").slice(0, 0, 250));
  for (const std::shared_ptr<Workers>& each : {std::shared_ptr<Workers>(), workers}) {
    std::thread::id reporter;
    const auto report = [&](const Progress&) { reporter = std::this_thread::get_id(); };
    const Weights loaded = materialize(small, {.threads = 3, .progress = report, .workers = each});
    CHECK(loaded.stats().threads == 1);
    CHECK(reporter == std::this_thread::get_id());
  }
}

TEST_CASE("workers: without a number there is one thread fewer than processors, and at least one") {
  CHECK(Workers().threads() == std::max(engine::usable_threads(engine::max_threads) - 1, 1u));
}
