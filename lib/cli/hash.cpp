#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/reading.hpp"
#include "cli/sha256.hpp"
#include "core/text.hpp"
#include "heft/materialize.hpp"
#include "materialize/budget.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

// Returns the tensors of the given names, each once, or all tensors. Throws Error{not_found} for an unknown name.
std::vector<TensorView> wanted(const Checkpoint& checkpoint, const std::vector<std::string>& names) {
  std::vector<TensorView> views;
  if (names.empty())
    for (const TensorView& view : checkpoint.tensors()) views.push_back(view);
  for (const std::string& name : std::set<std::string>(names.begin(), names.end()))
    views.push_back(checkpoint.tensor(name));
  return views;
}

// Hashes tensors, one after the other: there are as many lanes as threads. The windows of a lane are hashed in order,
// by the thread that brings the next one.
class Lane {
 public:
  /// `digests` has a place for each tensor of `pieces`. All outlive this.
  Lane(const writer::Pieces& pieces, const engine::Windows& windows, std::vector<std::string>& digests)
      : pieces_(pieces), windows_(windows), digests_(digests) {}

  /// Appends a window to the order of the lane, before the load begins.
  void expect(std::size_t window) { order_.push_back(window); }

  /// Hashes a window, or keeps it until those before it have come. May be called by several threads.
  void put(engine::Window window) {
    std::unique_lock lock(mutex_);
    early_.emplace(window.number(), std::move(window));
    // Only one thread hashes. It takes the windows that others bring meanwhile.
    if (is_adding_) return;
    is_adding_ = true;
    while (done_ < order_.size()) {
      auto next = early_.extract(order_[done_]);
      if (!next) break;
      lock.unlock();
      add(next.mapped());
      // Its memory is given back before the next one is hashed.
      next = {};
      lock.lock();
      ++done_;
    }
    is_adding_ = false;
  }

 private:
  void add(const engine::Window& window) {
    const std::span<const std::uint32_t> numbers = windows_[window.number()];
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      // Pieces of one tensor follow each other, so one state is enough.
      if (!hash_) hash_.emplace();
      hash_->add(window.tensors()[i].bytes());
      if (!pieces_.is_last(numbers[i])) continue;
      digests_[pieces_[numbers[i]].tensor] = hash_->digest();
      hash_.reset();
    }
  }

  const writer::Pieces& pieces_;
  const engine::Windows& windows_;
  std::vector<std::string>& digests_;
  std::vector<std::size_t> order_;  // windows, by number
  std::mutex mutex_;
  std::map<std::size_t, engine::Window> early_;
  std::size_t done_ = 0;  // windows of order_
  bool is_adding_ = false;
  std::optional<Sha256> hash_;  // of a tensor with some pieces added
};

// Pieces [first, last) of whole tensors: a large one, or small neighbours.
struct Run {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint64_t size_bytes = 0;
};

// Bytes of a lane that are loaded together: as many as a worker of a load takes at once.
constexpr std::uint64_t run_bytes = 4u << 20;

std::vector<Run> runs_of(const writer::Pieces& pieces) {
  std::vector<Run> runs;
  Run run;
  for (std::uint32_t piece = 0; piece < pieces.size(); ++piece) {
    run.last = piece + 1;
    run.size_bytes += pieces[piece].size_bytes;
    if (!pieces.is_last(piece) || (run.size_bytes < run_bytes && piece + 1 < pieces.size())) continue;
    runs.push_back(run);
    run = {.first = piece + 1, .last = piece + 1};
  }
  return runs;
}

// Deals the tensors to `count` lanes of about the same bytes: the largest first, each to the lane that has least.
std::vector<std::vector<std::uint32_t>> deal(const writer::Pieces& pieces, std::size_t count) {
  std::vector<Run> runs = runs_of(pieces);
  std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.size_bytes > b.size_bytes; });
  std::vector<std::uint64_t> bytes(count);
  std::vector<std::vector<std::uint32_t>> lanes(count);
  for (const Run& run : runs) {
    const auto least = static_cast<std::size_t>(std::min_element(bytes.begin(), bytes.end()) - bytes.begin());
    bytes[least] += run.size_bytes;
    for (std::uint32_t piece = run.first; piece < run.last; ++piece) lanes[least].push_back(piece);
  }
  // In file order, which is the fastest to read.
  for (std::vector<std::uint32_t>& lane : lanes) std::sort(lane.begin(), lane.end());
  return lanes;
}

// All tensors in windows, so that the lanes advance together, and the lane of each window.
struct Dealt {
  engine::Windows windows;
  std::vector<std::size_t> lanes;
};

Dealt windows_of(const writer::Pieces& pieces, std::size_t count) {
  const std::vector<std::vector<std::uint32_t>> lanes = deal(pieces, count);
  std::vector<std::size_t> done(count);  // pieces of each lane
  Dealt dealt;
  for (bool has_more = true; std::exchange(has_more, false);) {
    for (std::size_t lane = 0; lane < count; ++lane) {
      const std::vector<std::uint32_t>& numbers = lanes[lane];
      for (std::uint64_t bytes = 0, of_run = 0; done[lane] < numbers.size() && of_run < run_bytes;) {
        const std::uint32_t piece = numbers[done[lane]++];
        dealt.windows.add(piece);
        bytes += pieces[piece].size_bytes;
        of_run += pieces[piece].size_bytes;
        if (bytes < writer::window_bytes && of_run < run_bytes && done[lane] < numbers.size()) continue;
        dealt.windows.close();
        dealt.lanes.push_back(lane);
        bytes = 0;
      }
      has_more = has_more || done[lane] < numbers.size();
    }
  }
  return dealt;
}

// Returns the digest of each tensor. Adds the notes of the load.
std::vector<std::string> digests_of(const writer::Pieces& pieces, std::size_t tensors,
                                    const MaterializeOptions& options, std::vector<std::string>& notes) {
  std::vector<std::string> digests(tensors);
  const unsigned threads = engine::asked_threads(options);
  const Dealt dealt = windows_of(pieces, threads);
  std::deque<Lane> lanes;
  for (unsigned lane = 0; lane < threads; ++lane) lanes.emplace_back(pieces, dealt.windows, digests);
  for (std::size_t window = 0; window < dealt.lanes.size(); ++window) lanes[dealt.lanes[window]].expect(window);
  notes = pieces.visit(options, dealt.windows, [&](engine::Window window) {
    Lane& lane = lanes[dealt.lanes[window.number()]];
    lane.put(std::move(window));
  });
  return digests;
}

}  // namespace

int run(const HashCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  watch_interrupts();
  writer::Pieces pieces(command.open.limits);
  std::vector<std::string> names;
  std::vector<std::string> notes;
  for (const TensorView& view : wanted(checkpoint, command.names)) {
    // A digest of no bytes would equal that of an empty tensor.
    if (view.has_data()) {
      // In the dtype of the file: the digest is that of the stored elements, whatever their layout in the file.
      pieces.add(view, view.wanted_dtype(), writer::window_bytes_of(view));
      names.emplace_back(view.name());
    } else {
      notes.push_back(fmt::format("'{}' has a shape but no bytes: not hashed", core::escaped(view.name())));
    }
  }
  print_notes(notes, terminal);
  std::vector<std::string> digests;
  {
    ProgressBar bar(terminal, "hashing");
    digests = digests_of(pieces, names.size(), reading_options(command.io, command.open.access, bar), notes);
  }
  print_notes(notes, terminal);
  note_freshness(checkpoint, terminal);
  // Sorted by name: the output of two files with the same tensors in another order is equal.
  std::map<std::string_view, std::string_view> sorted;
  for (std::size_t i = 0; i < names.size(); ++i) sorted.emplace(names[i], digests[i]);
  for (const auto& [name, digest] : sorted) terminal.out << digest << "  " << core::escaped(name, SIZE_MAX) << '\n';
  return ok;
}

}  // namespace heft::cli
