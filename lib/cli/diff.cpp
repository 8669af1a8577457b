#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/reading.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

// Returns the dtype and the shape, for a line about their difference.
std::string shape_of(const TensorView& view) {
  return fmt::format("{} {}", core::escaped(view.dtype_name()), to_string(view.shape()));
}

// Two tensors of one name.
struct Pair {
  TensorView a;
  TensorView b;
  bool is_comparable = false;             ///< Both have bytes, and the same dtype and shape.
  std::atomic<bool> differs = false;      ///< By their bytes, once these are compared.
  std::optional<Difference> values = {};  ///< Of tensors whose bytes differ and can be read as numbers.
  [[nodiscard]] bool is_readable() const noexcept { return differs && readable_as(a.dtype()).has_value(); }
};

// std::ranges::equal() compares bytes one by one.
bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// Calls `compare` with the tensors of both sides, piece by piece, on the threads of the load: `dtype_of` returns the
// dtype of a pair to read, or nothing. Writes the notes of the load.
template <class DTypeOf, class Compare>
void visit_pairs(std::deque<Pair>& pairs, const DTypeOf& dtype_of, const Compare& compare, const DiffCommand& command,
                 Terminal& terminal) {
  writer::Pieces pieces(command.open.limits);
  engine::Windows windows;
  std::vector<Pair*> read;  // of each two tensors of `pieces`
  std::uint64_t bytes = 0;  // of the open window
  for (Pair& pair : pairs) {
    const std::optional<DType> dtype = dtype_of(pair);
    if (!dtype) continue;
    read.push_back(&pair);
    // The same pieces of both.
    const std::uint64_t max_bytes = std::max(writer::window_bytes_of(pair.a), writer::window_bytes_of(pair.b));
    const auto first = static_cast<std::uint32_t>(pieces.size());
    pieces.add(pair.a, *dtype, max_bytes);
    const auto other = static_cast<std::uint32_t>(pieces.size());
    pieces.add(pair.b, *dtype, max_bytes);
    for (std::uint32_t i = 0; first + i < other; ++i) {
      windows.add(first + i);
      windows.add(other + i);
      bytes += pieces[first + i].size_bytes;
      if (bytes < writer::window_bytes) continue;
      windows.close();
      bytes = 0;
    }
  }
  windows.close();
  ProgressBar bar(terminal, "comparing");
  print_notes(pieces.visit(reading_options("automatic", command.open.access, bar), windows,
                           [&](const engine::Window& window) {
                             const std::span<const std::uint32_t> numbers = windows[window.number()];
                             for (std::size_t i = 0; i < numbers.size(); i += 2)
                               compare(*read[pieces[numbers[i]].tensor / 2], window.tensors()[i],
                                       window.tensors()[i + 1]);
                           }),
              terminal);
}

// Compares bytes first, because equal bytes are equal values; then the values of tensors whose bytes differ.
void compare(std::deque<Pair>& pairs, const DiffCommand& command, Terminal& terminal) {
  visit_pairs(
      pairs, [](const Pair& pair) { return pair.is_comparable ? std::optional(pair.a.wanted_dtype()) : std::nullopt; },
      [](Pair& pair, const Tensor& a, const Tensor& b) {
        // Relaxed: the end of the load orders it before it is read.
        if (pair.differs.load(std::memory_order_relaxed) || same_bytes(a.bytes(), b.bytes())) return;
        pair.differs.store(true, std::memory_order_relaxed);
      },
      command, terminal);
  if (std::ranges::none_of(pairs, &Pair::is_readable)) return;
  std::mutex mutex;
  visit_pairs(
      pairs, [](const Pair& pair) { return pair.is_readable() ? readable_as(pair.a.dtype()) : std::nullopt; },
      [&](Pair& pair, const Tensor& a, const Tensor& b) {
        const Difference found = difference_of(a, b);
        const std::lock_guard lock(mutex);
        pair.values = merged(pair.values.value_or(Difference{}), found);
      },
      command, terminal);
}

// Returns a description of the difference, or an empty text if the tensors are equal.
std::string apart(const Pair& pair) {
  const auto& [a, b, is_comparable, differs, values] = pair;
  // Names, because all dtypes that heft does not have are DType::unknown.
  if (a.dtype_name() != b.dtype_name() || !(a.shape() == b.shape()))
    return fmt::format("{} against {}", shape_of(a), shape_of(b));
  if (a.has_data() != b.has_data()) return "only one of them has data";
  if (!differs) return {};
  // Raw and quantized types have no values to subtract.
  if (!values) return "bytes differ";
  if (values->count == 0) return {};  // only NaN with other payloads, or zeros with the other sign
  return fmt::format("{} of {} values differ, by at most {} (relative {})", values->count, a.element_count(),
                     values->absolute, values->relative);
}

// Returns the tensors of A that B has too.
std::deque<Pair> pairs_of(const Checkpoint& a, const Checkpoint& b) {
  std::deque<Pair> pairs;
  for (const TensorView& view : a.tensors()) {
    const std::optional<TensorView> other = b.find(view.name());
    if (!other) continue;
    const bool is_comparable = view.has_data() && other->has_data() && view.dtype_name() == other->dtype_name() &&
                               view.shape() == other->shape();
    pairs.emplace_back(view, *other, is_comparable);
  }
  return pairs;
}

// Writes a line for each tensor that `there` lacks, and returns their number.
std::size_t only_in(const Checkpoint& here, const Checkpoint& there, Terminal& terminal) {
  std::size_t count = 0;
  for (const TensorView& view : here.tensors()) {
    if (there.find(view.name())) continue;
    ++count;
    terminal.out << fmt::format("{}: only in {}\n", core::escaped(view.name()), core::escaped(here.path(), 1000));
  }
  return count;
}

}  // namespace

int run(const DiffCommand& command, Terminal& terminal) {
  const Checkpoint a = open_noted(command.a, command.open, terminal);
  const Checkpoint b = open_noted(command.b, command.open, terminal);
  watch_interrupts();
  // First, because it needs no payload and is often the whole answer.
  const std::size_t alone = only_in(a, b, terminal) + only_in(b, a, terminal);
  std::deque<Pair> pairs = pairs_of(a, b);
  compare(pairs, command, terminal);
  std::size_t different = 0;
  for (const Pair& pair : pairs) {
    const std::string text = apart(pair);
    different += !text.empty();
    if (!text.empty()) terminal.out << core::escaped(pair.a.name()) << ": " << text << '\n';
  }
  // After the last read: a file that was written to meanwhile makes the comparison doubtful.
  for (const Checkpoint* read : {&a, &b}) note_freshness(*read, terminal);
  terminal.out << fmt::format("{} equal, {} different, {} in one only\n", pairs.size() - different, different, alone);
  return different + alone == 0 ? ok : differences;
}

}  // namespace heft::cli
