// cli/notes.hpp: notes for the user about tensors that a command leaves out or does not convert.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/terminal.hpp"
#include "heft/checkpoint.hpp"

namespace heft::cli {

/// Opens a checkpoint and writes its notes. Every command uses it.
Checkpoint open_noted(const std::string& path, const OpenOptions& options, Terminal& terminal);

/// Writes a line `note: ...` for each note to the error stream.
void print_notes(std::span<const std::string> notes, Terminal& terminal);
/// {"notes":[...]} on the output stream.
void print_notes_line(std::span<const std::string> notes, Terminal& terminal);

/// The number of some tensors and the names of the first few, for a note.
class NamedCount {
 public:
  /// Requires an escaped `name`.
  void add(std::string name);
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  /// Returns "1 tensor is", "12 tensors are".
  [[nodiscard]] std::string tensors() const;
  /// Returns "'a', 'b', 'c' and 9 more".
  [[nodiscard]] std::string names() const;

 private:
  std::vector<std::string> names_;
  std::size_t count_ = 0;
};

/// Returns the notes of both lists.
std::vector<std::string> joined(std::span<const std::string> first, std::span<const std::string> second);

/// A tensor and the dtype in which it is loaded or written.
struct Conversion {
  TensorView view;
  DType dtype;
};

/// Returns each view with the dtype that `--dtype` results in, see dtype_for(); its own dtype if `dtype` is empty.
/// Throws Error{out_of_range}.
std::vector<Conversion> conversions_of(std::vector<TensorView> views, const std::string& dtype);

/// Returns notes about the effects of `--dtype asked`: tensors that keep their dtype because their elements are of
/// another kind, and weights that are converted without the scale beside them in the checkpoint.
std::vector<std::string> conversion_notes(const Checkpoint& checkpoint, std::span<const Conversion> conversions,
                                          DType asked);

}  // namespace heft::cli
