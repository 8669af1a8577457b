// cli/notes.hpp: what a command leaves out, or takes for something else, in words for its user.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/terminal.hpp"
#include "heft/checkpoint.hpp"

namespace heft::cli {

/// Opens a checkpoint and writes its notes. Every command opens through it.
Checkpoint open_noted(const std::string& path, const OpenOptions& options, Terminal& terminal);

/// Writes `note: ...` to the error stream, a line each.
void print_notes(std::span<const std::string> notes, Terminal& terminal);
/// {"notes":[...]} on the output stream.
void print_notes_line(std::span<const std::string> notes, Terminal& terminal);

/// A number of tensors and the names of the first few, for a note.
class NamedCount {
 public:
  /// `name` is escaped.
  void add(std::string name);
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// "1 tensor is", "12 tensors are"
  [[nodiscard]] std::string tensors() const;
  /// "'a', 'b', 'c' and 9 more"
  [[nodiscard]] std::string names() const;

 private:
  std::vector<std::string> names_;
  std::size_t count_ = 0;
};

/// First these notes, then those.
std::vector<std::string> joined(std::span<const std::string> first, std::span<const std::string> second);

/// A tensor and the dtype it is loaded or written as.
struct Conversion {
  TensorView view;
  DType dtype;
};

/// What `--dtype` makes of each view: see dtype_for(); its own dtype when `dtype` is empty. Throws Error{out_of_range}.
std::vector<Conversion> conversions_of(std::vector<TensorView> views, const std::string& dtype);

/// Notes about the effects of `--dtype asked`: the tensors that keep their dtype because they hold no elements of asked's kind, and the
/// weights that are converted without the scale that lies beside them in the checkpoint. None when all are converted whole.
std::vector<std::string> conversion_notes(const Checkpoint& checkpoint, std::span<const Conversion> conversions, DType asked);

}  // namespace heft::cli
