// Visits: windows of tensors that the threads of a load give to a visitor.
#include "materialize/visit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
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
#include "materialize/visit_room.hpp"
#include "save/pieces.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using engine::Window;
using engine::Windows;

// Large tensors of 3 MB between small ones, with one without bytes. 12.4 MB.
struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint;

  Model() : checkpoint(heft::open(folder.write("model.safetensors", file()))) {}

  static std::string file() {
    test::SafetensorsBuilder builder;
    std::uint32_t seed = 1;
    for (int i = 0; i < 4; ++i) {
      const std::string number = std::to_string(i);
      builder.add("large." + number, "U8", {3, 1000, 1001}, test::pattern(3'003'000, seed++));
      for (int j = 0; j < 50; ++j)
        builder.add("small." + number + "." + std::to_string(j), "U8", {999}, test::pattern(999, seed++));
      builder.add("none." + number, "U8", {0}, "");
    }
    return builder.build();
  }
  [[nodiscard]] writer::Pieces pieces(std::uint64_t max_bytes = writer::window_bytes) const {
    writer::Pieces pieces(Limits{});
    for (const TensorView& view : checkpoint.tensors()) pieces.add(view, view.dtype(), max_bytes);
    return pieces;
  }
};

// The bytes of every piece that was visited, by its number.
class Visited {
 public:
  explicit Visited(const Windows& windows) : windows_(windows) {}
  void add(const Window& window) {
    const std::lock_guard lock(mutex_);
    const std::span<const std::uint32_t> numbers = windows_[window.number()];
    REQUIRE(numbers.size() == window.tensors().size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::span<const std::byte> bytes = window.tensors()[i].bytes();
      CHECK(pieces_.emplace(numbers[i], std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())).second);
    }
  }
  // Of all tensors, from the first piece to the last.
  [[nodiscard]] std::string all() const {
    std::string all;
    for (const auto& [number, bytes] : pieces_) all += bytes;
    return all;
  }
  [[nodiscard]] std::size_t size() const { return pieces_.size(); }

 private:
  const Windows& windows_;
  std::mutex mutex_;
  std::map<std::uint32_t, std::string> pieces_;
};

std::string payload(const Checkpoint& checkpoint) {
  std::string all;
  for (const TensorView& view : checkpoint.tensors()) {
    const Bytes bytes = view.bytes();
    all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes());
  }
  return all;
}

// A visitor that keeps each window until all before it have been visited: the order of a sequence.
class Sequence {
 public:
  void put(Window window) {
    std::unique_lock lock(mutex_);
    early_.emplace(window.number(), std::move(window));
    for (auto next = early_.begin(); next != early_.end() && next->first == done_; next = early_.erase(next)) ++done_;
  }
  [[nodiscard]] std::size_t done() const { return done_; }

 private:
  std::mutex mutex_;
  std::map<std::size_t, Window> early_;
  std::size_t done_ = 0;
};

}  // namespace

TEST_CASE("visit: each piece comes once, whole, on every path and on any number of threads") {
  const Model model;
  const std::string expected = payload(model.checkpoint);
  for (const std::uint64_t max_bytes : {std::uint64_t{1000}, std::uint64_t{100'000}, writer::window_bytes, UINT64_MAX})
    for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read})
      for (const unsigned threads : {1u, 3u}) {
        const writer::Pieces pieces = model.pieces(max_bytes);
        const Windows windows = pieces.windows();
        Visited visited(windows);
        (void)pieces.visit({.threads = threads, .io_method = path}, windows,
                           [&](const Window& window) { visited.add(window); });
        CHECK(visited.size() == pieces.size());
        CHECK((visited.all() == expected));
      }
}

TEST_CASE("visit: windows hold neighbouring pieces up to a size, and each piece is in one") {
  const Model model;
  const writer::Pieces pieces = model.pieces();
  const Windows windows = pieces.windows();
  std::uint32_t next = 0;
  for (std::size_t window = 0; window < windows.size(); ++window) {
    std::uint64_t bytes = 0;
    for (const std::uint32_t piece : windows[window]) {
      CHECK(piece == next++);
      CHECK(bytes < writer::window_bytes);
      bytes += pieces[piece].size_bytes;
    }
    CHECK((bytes >= writer::window_bytes || window + 1 == windows.size()));
    CHECK(bytes < 2 * writer::window_bytes);
  }
  CHECK(next == pieces.size());
}

TEST_CASE("visit: windows may be in any order and hold pieces from all over the file") {
  const Model model;
  const writer::Pieces pieces = model.pieces();
  Windows windows;
  const auto count = static_cast<std::uint32_t>(pieces.size());
  for (std::uint32_t i = 0; i < (count + 1) / 2; ++i) {
    windows.add(count - 1 - i);
    if (count - 1 - i != i) windows.add(i);
    windows.close();
    windows.close();  // which makes no window without pieces
  }
  CHECK(windows.size() == (count + 1) / 2);
  Visited visited(windows);
  (void)pieces.visit({.threads = 2}, windows, [&](const Window& window) { visited.add(window); });
  CHECK((visited.all() == payload(model.checkpoint)));
}

TEST_CASE("visit: a visitor may keep each window until those before it have come") {
  const Model model;
  // Windows of a tensor each, so that some are larger than others' room.
  for (const std::uint64_t max_bytes : {std::uint64_t{100'000}, UINT64_MAX})
    for (const IoMethod path : {IoMethod::automatic, IoMethod::direct})
      for (const unsigned threads : {1u, 2u, 5u}) {
        const writer::Pieces pieces = model.pieces(max_bytes);
        const Windows windows = pieces.windows();
        Sequence sequence;
        (void)pieces.visit({.threads = threads, .io_method = path}, windows,
                           [&](Window window) { sequence.put(std::move(window)); });
        CHECK(sequence.done() == windows.size());
      }
}

TEST_CASE("visit: memory is that of a few windows, however large the file") {
  const test::TempFolder folder;
  test::SafetensorsBuilder builder;
  builder.add("large", "U8", {64, 1u << 20}, test::pattern(64u << 20, 1));
  const Checkpoint checkpoint = heft::open(folder.write("model.safetensors", builder.build()));
  LoadPlan plan;
  Windows windows;
  writer::ViewCutter cutter(checkpoint.tensor("large"), DType::u8, writer::window_bytes);
  for (std::uint32_t i = 0; const std::optional<TensorView> piece = cutter.next(); ++i) {
    plan.add(piece->renamed(std::to_string(i)));
    windows.add(i);
    windows.close();
  }
  CHECK(windows.size() == 128);
  for (const IoMethod path : {IoMethod::read, IoMethod::direct}) {
    std::atomic<std::uint64_t> bytes = 0;
    const LoadStats stats = engine::visit(plan, {.threads = 2, .io_method = path}, windows,
                                          [&](const Window& window) { bytes += window.tensors()[0].size_bytes(); });
    CHECK(bytes == 64u << 20);
    CHECK(stats.bytes_written == 64u << 20);
    // Without reads in flight, the window of each worker.
    CHECK(stats.arena_bytes <= (path == IoMethod::read ? 2u << 20 : 16u << 20));
    CHECK(stats.host_bytes < 48u << 20);
  }
}

TEST_CASE("visit: what the visitor throws ends the load, and so do a stop request and a progress callback") {
  const Model model;
  const writer::Pieces pieces = model.pieces(100'000);
  const Windows windows = pieces.windows();
  std::atomic<std::size_t> calls = 0;
  CHECK_THROWS_WITH_AS((void)pieces.visit({.threads = 2}, windows,
                                          [&](const Window&) {
                                            if (++calls == 5) throw std::runtime_error("enough");
                                          }),
                       "enough", std::runtime_error);
  CHECK(calls < windows.size());
  std::stop_source stop;
  const auto ask = [&](const Window&) { stop.request_stop(); };
  CHECK(test::thrown_by([&] { (void)pieces.visit({.threads = 2, .stop = stop.get_token()}, windows, ask); }).code() ==
        ErrorCode::cancelled);
  const auto fail = [](const Progress&) { throw std::runtime_error("no more"); };
  CHECK_THROWS_WITH_AS((void)pieces.visit({.threads = 2, .progress = fail}, windows, [](const Window&) {}), "no more",
                       std::runtime_error);
  // Windows that are kept when the load fails are released later than it ends.
  std::vector<Window> kept;
  std::mutex mutex;
  CHECK_THROWS_AS((void)pieces.visit({.threads = 2}, windows,
                                     [&](Window window) {
                                       const std::lock_guard lock(mutex);
                                       kept.push_back(std::move(window));
                                       if (kept.size() == 3) throw std::runtime_error("enough");
                                     }),
                  std::runtime_error);
  CHECK(kept.size() >= 3);
  for (const Window& window : kept) CHECK_FALSE(window.tensors().empty());
}

TEST_CASE("visit: an error names the tensor and its file, and no window of a changed file is visited") {
  const Model model;
  const writer::Pieces pieces = model.pieces(100'000);
  const Windows windows = pieces.windows();
  std::atomic<unsigned> calls = 0;
  const auto change = [&](const Window&) {
    if (++calls == 1) model.folder.write("model.safetensors", Model::file() + "more");
  };
  const Error error =
      test::thrown_by([&] { (void)pieces.visit({.threads = 1, .io_method = IoMethod::read}, windows, change); });
  CHECK(calls == 1);
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.path() == (model.folder.path() / "model.safetensors").string());
  CHECK(error.tensor() == "large.0");
}

TEST_CASE("visit: a plan without tensors is no visit") {
  std::size_t calls = 0;
  const LoadStats stats = engine::visit(LoadPlan(), {}, Windows(), [&](const Window&) { ++calls; });
  CHECK(calls == 0);
  CHECK(stats.bytes_written == 0);
}

TEST_CASE("visit room: windows have room up to the bound, and the first that is not released has room at any time") {
  const engine::Visitor visitor = [](const Window&) {};
  const auto room = std::make_shared<engine::VisitRoom>(std::vector<std::uint64_t>{60, 30, 60, 200}, 100, visitor);
  CHECK(room->enter(1));
  CHECK(room->enter(0));
  CHECK_FALSE(room->enter(2));
  CHECK_FALSE(room->enter(3));
  room->put(1, {});  // visited and released
  CHECK_FALSE(room->enter(2));
  std::atomic<bool> came = false;
  {
    std::jthread waiting([&] {
      CHECK(room->await_room(2));
      came = true;
    });
    room->put(0, {});
  }
  CHECK(came);
  CHECK(room->enter(2));
  CHECK_FALSE(room->enter(3));
  room->release(2);
  CHECK(room->enter(3));  // of any size: it is the first
  CHECK(room->await_room(3));
  room->stop();
  CHECK_FALSE(room->await_room(3));
}
