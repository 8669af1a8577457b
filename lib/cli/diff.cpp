#include <algorithm>
#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"

namespace heft::cli {
namespace {

struct Tally {
  std::size_t equal = 0;
  std::size_t different = 0;
};

// Returns the dtype and the shape, for a line about their difference.
std::string shape_of(const TensorView& view) {
  return fmt::format("{} {}", core::escaped(view.dtype_name()), to_string(view.shape()));
}

// Returns a description of the difference, or an empty text if the tensors are equal. Compares bytes first, because
// equal bytes are equal values.
std::string values_apart(const TensorView& a, const TensorView& b) {
  if (!a.has_data() || !b.has_data()) return a.has_data() == b.has_data() ? "" : "only one of them has data";
  {
    // In a block of its own: both are freed before readable() loads the tensors once more, as numbers.
    const Tensor left = materialize(a);
    const Tensor right = materialize(b);
    if (std::ranges::equal(left.bytes(), right.bytes())) return {};
  }
  // Raw and quantized types have no values to subtract.
  if (!readable_as(a.dtype())) return "bytes differ";
  const Difference difference = difference_of(readable(a), readable(b));
  if (difference.count == 0) return {};  // only NaN with other payloads, or zeros with the other sign
  return fmt::format("{} of {} values differ, by at most {} (relative {})", difference.count, a.element_count(),
                     difference.absolute, difference.relative);
}

// Compares two tensors of one name, counts the result and writes a line if they differ.
void compare(const TensorView& a, const TensorView& b, Tally& tally, Terminal& terminal) {
  std::string apart;
  // Names, because all dtypes that heft does not have are DType::unknown.
  if (a.dtype_name() != b.dtype_name() || !(a.shape() == b.shape()))
    apart = fmt::format("{} against {}", shape_of(a), shape_of(b));
  else
    apart = values_apart(a, b);
  ++(apart.empty() ? tally.equal : tally.different);
  if (!apart.empty()) terminal.out << core::escaped(a.name()) << ": " << apart << '\n';
}

// Returns the bytes of all tensors, for the progress bar.
std::uint64_t tensor_bytes(const Checkpoint& checkpoint) {
  std::uint64_t sum = 0;
  for (const TensorView& view : checkpoint.tensors()) sum += view.size_bytes();
  return sum;
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
  Tally tally;
  {
    ProgressBar bar(terminal, "comparing");
    const std::uint64_t total = tensor_bytes(a);
    std::uint64_t done = 0;
    for (const TensorView& view : a.tensors()) {
      if (const auto other = b.find(view.name())) compare(view, *other, tally, terminal);
      // Throws after an interrupt. Tensors of A that B lacks count as done too.
      bar.show(done += view.size_bytes(), std::max(done, total));
    }
  }
  // After the last read: a file that was written to meanwhile makes the comparison doubtful.
  for (const Checkpoint* read : {&a, &b}) note_freshness(*read, terminal);
  terminal.out << fmt::format("{} equal, {} different, {} in one only\n", tally.equal, tally.different, alone);
  return tally.different + alone == 0 ? ok : differences;
}

}  // namespace heft::cli
