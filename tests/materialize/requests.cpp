// Loads from sources of the caller's that are neither files nor memory: requests in flight, their order, their
// failures.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "heft/storage.hpp"
#include "heft/stream.hpp"
#include "materialize/io/async_reader.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/memory/arena_destination.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/host_sink.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/same_bytes.hpp"
#include "support/sources.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::MapStorage;
using test::ServedSource;
using test::TextSource;
using test::thrown_by;
using Fault = ServedSource::Fault;

namespace {

constexpr const char* name = "m.safetensors";
constexpr std::uint64_t KiB = 1024;

// One tensor "w" of that many bytes.
std::string one_tensor(std::uint64_t size) {
  return test::SafetensorsBuilder()
      .add("w", "U8", {static_cast<std::int64_t>(size)}, test::pattern(static_cast<std::size_t>(size)))
      .build();
}

// Tensors of each way to be written: long and short, converted, transposed, sliced with gaps.
std::string many_tensors() {
  test::SafetensorsBuilder builder;
  builder.add("long", "BF16", {600, 1000}, test::pattern(1'200'000, 1));
  for (int i = 0; i < 40; ++i) builder.add("norm." + std::to_string(i), "BF16", {100}, test::pattern(200, 10 + i));
  builder.add("wider", "BF16", {300, 1000}, test::pattern(600'000, 2));
  builder.add("turned", "BF16", {500, 700}, test::pattern(700'000, 3));
  builder.add("cut", "BF16", {64, 20'000}, test::pattern(2'560'000, 4));
  return builder.build();
}

void add_all(LoadPlan& plan, const Checkpoint& checkpoint) {
  for (const TensorView& tensor : checkpoint.tensors("{long,norm.*}")) plan.add(tensor);
  plan.add(checkpoint.tensor("wider"), DType::f32);
  plan.add(checkpoint.tensor("turned").transpose(0, 1));
  plan.add(checkpoint.tensor("cut").slice(1, 3, 1003));
}

template <class Source = ServedSource>
struct Opened {
  std::shared_ptr<Source> source;
  Checkpoint checkpoint;

  template <class Setup>
  Opened(std::string file, const Setup& setup)
      : source(std::make_shared<Source>("store/m.safetensors", std::move(file))), checkpoint([&] {
          setup(*source);
          const auto storage = std::make_shared<MapStorage>();
          storage->files[name] = source;
          return open(storage, name);
        }()) {}
};

LoadPlan plan_of(const TensorView& view) {
  LoadPlan plan;
  plan.add(view);
  return plan;
}

void check_same(const Weights& found, const Weights& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(expected.size()); ++i) {
    CAPTURE(expected.begin()[i].name());
    CHECK(test::same_bytes(found.begin()[i].bytes(), expected.begin()[i].bytes()));
  }
}

Bytes bytes_of(const std::string& text) { return Bytes::copy_of(std::as_bytes(std::span(text))); }

}  // namespace

TEST_CASE("requests: every kind of tensor is loaded, whatever the order of answers") {
  LoadPlan expected;
  add_all(expected, open(bytes_of(many_tensors())));
  for (const unsigned in_flight : {1u, 3u, 32u})
    for (const unsigned threads : {1u, 4u})
      for (const std::uint64_t request : {4 * KiB, 100'000 + 0 * KiB, 8192 * KiB}) {
        CAPTURE(in_flight);
        CAPTURE(threads);
        CAPTURE(request);
        const Opened<> opened(many_tensors(), [&](ServedSource& source) {
          source.able = {.preferred_request_bytes = request, .max_in_flight = in_flight};
        });
        LoadPlan plan;
        add_all(plan, opened.checkpoint);
        const Weights weights = materialize(plan, {.threads = threads});
        check_same(weights, materialize(expected));
        CHECK(opened.source->max_in_flight() <= in_flight);
        CHECK(opened.source->max_request_bytes() <= request);
        CHECK(opened.source->in_flight() == 0);
      }
}

TEST_CASE("requests: as many as the source allows are in flight, and no more") {
  for (const unsigned threads : {1u, 4u}) {
    const Opened<> opened(one_tensor(16'384 * KiB), [&](ServedSource& source) {
      source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 32};
      source.gather = 32;
    });
    const Tensor tensor = materialize(opened.checkpoint.tensor("w"), {.threads = threads});
    CHECK(std::memcmp(tensor.bytes().data(), test::pattern(16'384 * KiB).data(), tensor.bytes().size()) == 0);
    CHECK(opened.source->max_in_flight() == 32);
    CHECK(opened.source->requests() >= 256);
  }
}

TEST_CASE("requests: those of one load together are at most as many as the source of the most allows") {
  const auto storage = std::make_shared<MapStorage>();
  std::vector<std::shared_ptr<ServedSource>> sources;
  LoadPlan plan;
  for (const char* file : {"a.safetensors", "b.safetensors"}) {
    sources.push_back(std::make_shared<ServedSource>(file, one_tensor(1024 * KiB)));
    sources.back()->able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 4, .bytes_per_request = 1000};
    storage->files[file] = sources.back();
    plan.add(open(storage, file).tensor("w").renamed(file));
  }
  sources.front()->gather = 4;
  const Weights weights = materialize(plan, {.threads = 1});
  CHECK(weights.stats().peak_staging_bytes == 4 * 1000);
}

TEST_CASE("requests: neighbouring chunks of a tensor are one request, up to the preferred size") {
  const Opened<> opened(one_tensor(32'768 * KiB), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 8192 * KiB, .max_in_flight = 16};
  });
  static_cast<void>(materialize(opened.checkpoint.tensor("w"), {.threads = 1}));
  CHECK(opened.source->max_request_bytes() > 4096 * KiB);
  CHECK(opened.source->requests() <= 8);
}

TEST_CASE("requests: a failure at each of them ends the load with its error, path and tensor") {
  constexpr std::size_t count = 16;
  for (const Fault fault : {Fault::fails, Fault::throws, Fault::throws_after_answer, Fault::drops})
    for (std::size_t at = 0; at < count; ++at) {
      CAPTURE(static_cast<int>(fault));
      CAPTURE(at);
      const Opened<> opened(one_tensor(count * 64 * KiB), [&](ServedSource& source) {
        source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 5};
        source.fault = fault;
        source.fault_at = at;
      });
      const Error error = thrown_by([&] { return materialize(opened.checkpoint.tensor("w")); });
      CHECK(error.code() == ErrorCode::io);
      CHECK(error.path() == "store/m.safetensors");
      CHECK(error.tensor() == "w");
      const bool is_thrown = fault == Fault::throws || fault == Fault::throws_after_answer;
      if (fault == Fault::fails) CHECK(error.message() == "the store is on fire");
      if (is_thrown) CHECK(error.message() == "the connection was refused");
      CHECK(opened.source->in_flight() == 0);
      // A request that fails in the call is the last one; one that fails later is answered after all that came in
      // between.
      if (fault != Fault::fails) CHECK(opened.source->requests() == at + 1);
    }
}

TEST_CASE("requests: of two files, a failure names the one that was asked, the tensor and the offset") {
  for (const bool converts : {false, true})
    for (const Fault fault : {Fault::fails, Fault::throws, Fault::drops})
      for (std::size_t at = 0; at < 8; ++at) {
        CAPTURE(converts);
        CAPTURE(static_cast<int>(fault));
        CAPTURE(at);
        const auto storage = std::make_shared<MapStorage>();
        std::shared_ptr<ServedSource> source;
        LoadPlan plan;
        std::vector<TensorView> views;
        for (const char* file : {"first.safetensors", "second.safetensors"}) {
          test::SafetensorsBuilder builder;
          for (const char* tensor : {"a", "b", "c"})
            builder.add(tensor, "BF16", {128 * KiB}, test::pattern(256 * KiB, static_cast<std::uint32_t>(*tensor)));
          source = std::make_shared<ServedSource>(std::string("store/") + file, builder.build());
          source->able = {.preferred_request_bytes = 100'000, .max_in_flight = 3};
          storage->files[file] = source;
        }
        source->fault = fault;
        source->fault_at = at;
        for (const char* file : {"first.safetensors", "second.safetensors"})
          for (const TensorView& view : open(storage, file).tensors()) {
            views.push_back(view.renamed(std::string(file) + " " + std::string(view.name())));
            plan.add(views.back(), converts ? DType::f32 : DType::bf16);
          }
        const Error error = thrown_by([&] { return materialize(plan); });
        CHECK(error.code() == ErrorCode::io);
        CHECK(error.path() == "store/second.safetensors");
        CHECK(error.offset() == source->fault_offset());
        const auto is_asked = [&](const TensorView& view) {
          return view.shard_path() == error.path() && view.offset() <= source->fault_offset() &&
                 source->fault_offset() < view.offset() + view.size_bytes();
        };
        const auto asked = std::ranges::find_if(views, is_asked);
        REQUIRE(asked != views.end());
        CHECK(error.tensor() == asked->name());
      }
}

TEST_CASE("requests: a failure leaves nothing behind, and the next load succeeds") {
  const Opened<> opened(one_tensor(1024 * KiB), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 5};
    source.fault = Fault::drops;
    source.fault_at = 7;
  });
  CHECK(thrown_by([&] { return materialize(opened.checkpoint.tensor("w")); }).code() == ErrorCode::io);
  const Tensor tensor = materialize(opened.checkpoint.tensor("w"));
  CHECK(std::memcmp(tensor.bytes().data(), test::pattern(1024 * KiB).data(), tensor.bytes().size()) == 0);
}

TEST_CASE("requests: an exception of another type comes out unchanged") {
  const Opened<> opened(one_tensor(1024 * KiB), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 5};
    source.fault = Fault::fails_otherwise;
    source.fault_at = 3;
  });
  CHECK_THROWS_AS(static_cast<void>(materialize(opened.checkpoint.tensor("w"))), std::runtime_error);
  CHECK(opened.source->in_flight() == 0);
}

TEST_CASE("requests: after a failure those in flight get a stop request, and are waited for") {
  const Opened<> opened(one_tensor(1024 * KiB), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 8};
    source.gather = 8;  // seven are queued and never answered but for a stop request
    source.fault = Fault::throws;
    source.fault_at = 7;
  });
  CHECK(thrown_by([&] { return materialize(opened.checkpoint.tensor("w")); }).code() == ErrorCode::io);
  CHECK(opened.source->was_stopped());
  CHECK(opened.source->in_flight() == 0);
  CHECK(opened.source->requests() == 8);
}

TEST_CASE("requests: a stop request ends the load; no new requests, those in flight are waited for") {
  for (const unsigned threads : {1u, 4u}) {
    std::stop_source stop;
    const Opened<> opened(one_tensor(16'384 * KiB), [&](ServedSource& source) {
      source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 8};
      source.gather = 8;
      source.on_gathered = [&] { stop.request_stop(); };
    });
    const Error error = thrown_by(
        [&] { return materialize(opened.checkpoint.tensor("w"), {.threads = threads, .stop = stop.get_token()}); });
    CHECK(error.code() == ErrorCode::cancelled);
    CHECK(opened.source->was_stopped());
    CHECK(opened.source->in_flight() == 0);
    CHECK(opened.source->requests() == 8);
  }
}

TEST_CASE("requests: check_unchanged() comes before the first read and after the last") {
  struct Logged : TextSource {
    using TextSource::TextSource;
    mutable std::mutex mutex;
    mutable std::string log;
    void check_unchanged() const override {
      const std::scoped_lock lock(mutex);
      log += 'c';
    }
    void read(std::uint64_t offset, std::span<std::byte> into) const override {
      TextSource::read(offset, into);
      const std::scoped_lock lock(mutex);
      log += 'r';
    }
  };
  const Opened<Logged> opened(one_tensor(256 * KiB), [](Logged& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 2};
  });
  opened.source->log.clear();
  static_cast<void>(materialize(opened.checkpoint.tensor("w")));
  CHECK(opened.source->log == "crrrrc");
}

TEST_CASE("requests: a source that changes before, during or after the reads is changed_on_disk") {
  for (const std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{15}}) {
    ServedSource* raw = nullptr;
    const Opened<> opened(one_tensor(16 * 64 * KiB), [&](ServedSource& source) {
      raw = &source;
      source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 5};
      source.before_answer = [&, at](std::size_t number) {
        if (number == at) raw->set_version_now("2");
      };
    });
    const Error error = thrown_by([&] { return materialize(opened.checkpoint.tensor("w")); });
    CHECK(error.code() == ErrorCode::changed_on_disk);
    CHECK(error.path() == "store/m.safetensors");
    const std::size_t requests = opened.source->requests();
    CHECK(thrown_by([&] { return materialize(opened.checkpoint.tensor("w")); }).code() == ErrorCode::changed_on_disk);
    CHECK(opened.source->requests() == requests);
  }
}

TEST_CASE("requests: an ascending source gets one at a time, in the order of offsets") {
  const Opened<> opened(many_tensors(), [](ServedSource& source) {
    source.able = {.order = ByteSource::Order::ascending, .preferred_request_bytes = 64 * KiB, .max_in_flight = 32};
  });
  LoadPlan plan;
  for (const TensorView& tensor : opened.checkpoint.tensors()) plan.add(tensor);
  const Weights weights = materialize(plan, {.threads = 4});
  CHECK(opened.source->max_in_flight() == 1);
  CHECK(std::ranges::is_sorted(opened.source->offsets()));
  LoadPlan expected;
  for (const TensorView& tensor : open(bytes_of(many_tensors())).tensors()) expected.add(tensor);
  check_same(weights, materialize(expected));
}

TEST_CASE("requests: a source with read() alone is read in place, by as many threads as it allows") {
  for (const unsigned in_flight : {1u, 4u}) {
    std::atomic<unsigned> now = 0;
    std::atomic<unsigned> most = 0;
    const Opened<TextSource> opened(many_tensors(), [&](TextSource& source) {
      source.able = {.max_in_flight = in_flight};
      source.before_read = [&](std::uint64_t) { most = std::max(most.load(), now.load() + 1); };
    });
    LoadPlan plan;
    add_all(plan, opened.checkpoint);
    LoadPlan expected;
    add_all(expected, open(bytes_of(many_tensors())));
    check_same(materialize(plan, {.threads = 4}), materialize(expected));
    CHECK(most >= 1);
  }
}

TEST_CASE("requests: bytes are counted under a reason of their own, and over-reads beside them") {
  const Opened<> opened(many_tensors(), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 4};
  });
  LoadPlan plan;
  add_all(plan, opened.checkpoint);
  const Weights weights = materialize(plan);
  const LoadStats& stats = weights.stats();
  REQUIRE(stats.io_uses.size() == 1);
  CHECK(stats.io_uses[0].method == IoMethod::read);
  CHECK(stats.io_uses[0].reason == IoReason::requested);
  CHECK(heft::name(stats.io_uses[0].reason) == "requested");
  CHECK(stats.io_uses[0].bytes == stats.bytes_read);
  CHECK(stats.bytes_read == plan.estimate().bytes_read);
}

TEST_CASE("requests: the estimate counts the memory of requests, and the load stays below it") {
  std::vector<std::uint64_t> estimates;
  for (const std::uint64_t a_request : {std::uint64_t{0}, 300 * KiB}) {
    const Opened<> opened(many_tensors(), [&](ServedSource& source) {
      source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 16, .bytes_per_request = a_request};
      source.gather = 8;
    });
    LoadPlan plan;
    add_all(plan, opened.checkpoint);
    const LoadEstimate estimate = plan.estimate({.threads = 1});
    estimates.push_back(estimate.host_bytes);
    const Weights weights = materialize(plan, {.threads = 1});
    CHECK(weights.stats().peak_staging_bytes + weights.stats().arena_bytes <= estimate.host_bytes);
    CHECK(weights.stats().peak_staging_bytes >= 8 * a_request);
  }
  CHECK(estimates[1] - estimates[0] == 16 * 300 * KiB);
}

TEST_CASE("requests: chunks that go straight to where they belong need no staging") {
  const Opened<> opened(one_tensor(8192 * KiB), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 16};
  });
  const Weights weights = materialize(plan_of(opened.checkpoint.tensor("w")));
  CHECK(weights.stats().peak_staging_bytes == 0);
}

TEST_CASE("requests: staging_bytes bounds what is in flight through the ring") {
  const Opened<> opened(many_tensors(), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 128};
  });
  LoadPlan plan;
  plan.add(opened.checkpoint.tensor("cut"), DType::f32);
  const Weights weights = materialize(plan, {.threads = 1, .staging_bytes = 0});
  CHECK(weights.stats().peak_staging_bytes <= 600 * KiB);
}

TEST_CASE("requests: every fixture loads from a storage as from its file") {
  const auto root = test::fixtures("");
  if (!root) return;
  std::size_t loaded = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*root)) {
    if (!entry.is_regular_file()) continue;
    CAPTURE(entry.path().string());
    std::optional<Checkpoint> file;
    try {
      file = open(entry.path());
    } catch (const Error&) {
      continue;
    }
    if (file->shards().size() != 1) continue;
    const auto storage = std::make_shared<MapStorage>();
    auto source = std::make_shared<ServedSource>("store", test::content_of(entry.path()));
    source->able = {.preferred_request_bytes = 4 * KiB, .max_in_flight = 8};
    const std::string base = entry.path().filename().string();
    storage->files[base] = source;
    const Checkpoint stored = open(storage, base);
    LoadPlan expected;
    LoadPlan plan;
    for (std::size_t i = 0; i < file->tensors().size(); ++i) {
      const TensorView tensor = file->tensors()[i];
      if (!tensor.has_data() || tensor.size_bytes() > 65'536 * KiB) continue;
      expected.add(tensor);
      plan.add(stored.tensors()[i]);
    }
    std::optional<Weights> weights;
    try {
      weights = materialize(expected);
    } catch (const Error& error) {
      CHECK(thrown_by([&] { return materialize(plan); }).code() == error.code());
      continue;
    }
    check_same(materialize(plan), *weights);
    ++loaded;
  }
  CHECK(loaded > 100);
}

TEST_CASE("requests: a sharded model in a map is loaded whole, and streamed") {
  const auto storage = std::make_shared<MapStorage>();
  std::string index = R"({"weight_map":{)";
  for (int shard = 1; shard <= 4; ++shard) {
    const std::string file = "model-0000" + std::to_string(shard) + "-of-00004.safetensors";
    const std::string tensor = "w" + std::to_string(shard);
    auto source = std::make_shared<ServedSource>(
        "map/" + file, test::SafetensorsBuilder()
                           .add(tensor, "BF16", {100, 1000}, test::pattern(200'000, static_cast<std::uint32_t>(shard)))
                           .build());
    source->able = {.preferred_request_bytes = 16 * KiB, .max_in_flight = 32};
    storage->files[file] = source;
    index += (shard > 1 ? ",\"" : "\"") + tensor + "\":\"" + file + '"';
  }
  storage->add("model.safetensors.index.json", index + "}}");
  const Checkpoint checkpoint = open(storage, "");
  LoadPlan plan;
  for (const TensorView& tensor : checkpoint.tensors()) plan.add(tensor);
  const Weights weights = materialize(plan, {.threads = 3});
  for (std::uint32_t shard = 1; shard <= 4; ++shard) {
    const auto bytes = weights["w" + std::to_string(shard)].bytes();
    CHECK(std::memcmp(bytes.data(), test::pattern(200'000, shard).data(), bytes.size()) == 0);
  }
  std::size_t streamed = 0;
  TensorStream all = stream(plan, {.threads = 2});
  while (auto tensor = all.next()) {
    const std::string_view found = tensor->name();
    const auto shard = static_cast<std::uint32_t>(found.back() - '0');
    CHECK(std::memcmp(tensor->bytes().data(), test::pattern(200'000, shard).data(), tensor->bytes().size()) == 0);
    ++streamed;
  }
  CHECK(streamed == 4);
}

namespace {

// A gate in front of one source, whose completions the test reports.
struct Gated {
  struct Held : TextSource {
    using TextSource::TextSource;
    mutable std::vector<Completion> held;
    mutable std::vector<std::stop_token> tokens;
    void read_async(ReadRequest, std::stop_token stop, Completion completion) const override {
      tokens.push_back(std::move(stop));
      held.push_back(std::move(completion));
    }
  };
  Opened<Held> opened;
  LoadPlan plan;
  std::shared_ptr<const engine::Schedule> schedule;
  std::shared_ptr<engine::RequestGate> gate;
  engine::RequestGate::Requests requests;
  std::size_t left = 0;
  std::vector<std::byte> memory;

  explicit Gated(unsigned in_flight)
      : opened(one_tensor(64), [&](Held& source) { source.able = {.max_in_flight = in_flight}; }), memory(64) {
    plan.add(opened.checkpoint.tensor("w"));
    schedule = engine::PlanAccess::schedule(plan);
    gate = std::make_shared<engine::RequestGate>(*schedule);
  }
  engine::RequestGate::Request request() {
    return {.gate = nullptr, .of = &requests, .source = {}, .range = {0, 8}, .left = &left};
  }
  std::vector<Completion>& held() { return opened.source->held; }
};

}  // namespace

TEST_CASE("request gate: a request is counted in until it is reported") {
  Gated gated(2);
  engine::RequestGate::Request first = gated.request();
  REQUIRE(gated.gate->enter(first));
  gated.gate->send(first, gated.memory);
  CHECK(gated.left == 1);
  gated.held().front().succeed();
  CHECK(gated.left == 0);
  CHECK(gated.requests.outstanding == 0);
  CHECK(gated.gate->await(gated.requests, gated.left));
  CHECK(gated.gate->failure(gated.requests) == nullptr);
}

TEST_CASE("request gate: a failure ends the worker's wait, and its first failure is kept") {
  Gated gated(2);
  engine::RequestGate::Request first = gated.request();
  engine::RequestGate::Request second = gated.request();
  for (auto* request : {&first, &second}) {
    REQUIRE(gated.gate->enter(*request));
    gated.gate->send(*request, gated.memory);
  }
  gated.held()[1].fail(std::make_exception_ptr(Error(ErrorCode::io, "second")));
  CHECK_FALSE(gated.gate->await(gated.requests, gated.left));
  gated.held()[0].fail(std::make_exception_ptr(Error(ErrorCode::io, "first")));
  CHECK(gated.gate->failure(gated.requests) == &second);
  engine::RequestGate::Request third = gated.request();
  CHECK_FALSE(gated.gate->enter(third));
}

TEST_CASE("request gate: stop() admits nothing more and gives the sources a stop request") {
  Gated gated(2);
  engine::RequestGate::Request first = gated.request();
  REQUIRE(gated.gate->enter(first));
  gated.gate->send(first, gated.memory);
  CHECK_FALSE(gated.opened.source->tokens.front().stop_requested());
  gated.gate->stop();
  CHECK(gated.opened.source->tokens.front().stop_requested());
  CHECK_FALSE(gated.gate->await(gated.requests, gated.left));
  engine::RequestGate::Request second = gated.request();
  CHECK_FALSE(gated.gate->enter(second));
  gated.held().clear();  // dropped: counted out
  gated.gate->await_all(gated.requests);
  CHECK(gated.requests.outstanding == 0);
}

TEST_CASE("request gate: a full gate admits the next request when one is reported, from any thread") {
  Gated gated(1);
  engine::RequestGate::Request first = gated.request();
  engine::RequestGate::Request second = gated.request();
  REQUIRE(gated.gate->enter(first));
  gated.gate->send(first, gated.memory);
  std::thread other([&] { gated.held().front().succeed(); });
  CHECK(gated.gate->enter(second));
  CHECK(gated.left == 1);
  other.join();
  gated.gate->send(second, gated.memory);
  gated.held().back().succeed();
}

TEST_CASE("request gate: a completion may be reported after the gate's owner has let go") {
  Gated gated(1);
  engine::RequestGate::Request first = gated.request();
  REQUIRE(gated.gate->enter(first));
  gated.gate->send(first, gated.memory);
  const std::weak_ptr<engine::RequestGate> watched = gated.gate;
  gated.gate.reset();
  CHECK_FALSE(watched.expired());
  gated.held().front().succeed();
  CHECK(gated.left == 0);
}

TEST_CASE("async reader: chunks of each kind reach the sink, and the destructor waits for requests in flight") {
  const Opened<> opened(many_tensors(), [](ServedSource& source) {
    source.able = {.preferred_request_bytes = 64 * KiB, .max_in_flight = 8};
  });
  LoadPlan plan;
  add_all(plan, opened.checkpoint);
  const auto schedule = engine::PlanAccess::schedule(plan);
  const MaterializeOptions options;
  const auto allocation = engine::ArenaDestination().allocate(engine::specs_for(plan, options, {}));
  const std::span<const Placement> places = allocation->placements();
  engine::LoadMonitor monitor(options, schedule->sizes.written);
  std::vector<engine::EntryMemory> entries;
  for (const Placement& place : places) entries.push_back({static_cast<std::byte*>(place.data), engine::Store::cached});
  engine::HostSink sink(*schedule, monitor, entries);
  const engine::ChunkErrors errors(plan, *schedule);
  const auto gate = std::make_shared<engine::RequestGate>(*schedule);
  const engine::AsyncReader::Setup setup{.schedule = *schedule,
                                         .sink = sink,
                                         .monitor = monitor,
                                         .errors = errors,
                                         .gate = *gate,
                                         .ring_bytes = 4096 * KiB};
  LoadStats share;
  {
    engine::AsyncReader reader(setup, share);
    for (const engine::Batch& batch : schedule->batches) {
      auto chunks = schedule->chunks_of(batch);
      while (!chunks.empty()) chunks = chunks.subspan(reader.submit(chunks).chunks);
    }
    reader.drain();
  }
  CHECK(monitor.stats().bytes_written == schedule->sizes.written);
  LoadPlan expected;
  add_all(expected, open(bytes_of(many_tensors())));
  const Weights weights = materialize(expected);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto bytes = weights.begin()[static_cast<std::ptrdiff_t>(i)].bytes();
    CHECK(std::memcmp(places[i].data, bytes.data(), bytes.size()) == 0);
  }
  {
    engine::AsyncReader reader(setup, share);
    static_cast<void>(reader.submit(schedule->chunks_of(schedule->batches.front())));
  }
  CHECK(opened.source->in_flight() == 0);
}
