#include "cli/notes.hpp"

#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "record/scales.hpp"

namespace heft::cli {
namespace {

bool is_real(DType dtype) noexcept { return info(dtype).category == DTypeCategory::real; }

// Returns the kind of elements that --dtype `asked` converts.
std::string_view elements_of(DType asked) noexcept {
  return info(asked).category == DTypeCategory::complex ? "complex numbers" : "floats";
}

}  // namespace

void NamedCount::add(std::string name) {
  // A note is a line: names of 90,000 tensors would hide the others.
  constexpr std::size_t max_names = 3;
  if (++count_ <= max_names) names_.push_back(std::move(name));
}

std::string NamedCount::tensors() const { return core::counted_are(count_, "tensor"); }

std::string NamedCount::names() const {
  std::string list = fmt::format("{}", fmt::join(names_, ", "));
  return count_ > names_.size() ? fmt::format("{} and {} more", list, count_ - names_.size()) : list;
}

std::vector<std::string> joined(std::span<const std::string> first, std::span<const std::string> second) {
  std::vector<std::string> all(first.begin(), first.end());
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

std::vector<Conversion> conversions_of(std::vector<TensorView> views, const std::string& dtype) {
  const auto asked = dtype.empty() ? std::nullopt : std::optional(dtype_from(dtype));
  std::vector<Conversion> conversions;
  conversions.reserve(views.size());
  for (TensorView& view : views) {
    // Integers and booleans keep their dtype: as floats, token ids and masks would be wrong.
    const DType as = asked ? dtype_for(view, *asked) : view.dtype();
    conversions.push_back({std::move(view), as});
  }
  return conversions;
}

void print_notes(std::span<const std::string> notes, Terminal& terminal) {
  // To the error stream, so that the output can be piped.
  for (const std::string& note : notes) terminal.err << "note: " << core::printable(note) << '\n';
}

void print_notes_line(std::span<const std::string> notes, Terminal& terminal) {
  terminal.out << fmt::format("{{\"notes\":{}}}\n", json_texts(notes));
}

Checkpoint open_noted(const std::string& path, const OpenOptions& options, Terminal& terminal) {
  Checkpoint checkpoint = open(path, options);
  // Before the command works: a note can explain the Error that follows.
  print_notes(checkpoint.notes(), terminal);
  return checkpoint;
}

std::vector<std::string> conversion_notes(const Checkpoint& checkpoint, std::span<const Conversion> conversions,
                                          DType asked) {
  NamedCount kept;
  NamedCount unscaled;
  for (const auto& [view, dtype] : conversions) {
    if (dtype != asked)
      kept.add(fmt::format("'{}' ({})", core::escaped(view.name()), core::escaped(view.dtype_name())));
    // Only a conversion to floats changes values that a scale belongs to.
    if (dtype == view.dtype() || !is_real(dtype)) continue;
    if (const auto scale = record::scale_beside(checkpoint, view))
      unscaled.add(fmt::format("'{}' (beside it '{}')", core::escaped(view.name()), core::escaped(scale->name())));
  }
  std::vector<std::string> notes;
  if (kept.size() > 0)
    notes.push_back(fmt::format("{} not converted to {}, which is for {} only: {}", kept.tensors(), name(asked),
                                elements_of(asked), kept.names()));
  if (unscaled.size() > 0)
    notes.push_back(
        fmt::format("{} converted to {} without the scale that lies beside it, so the values are not the model's: {}",
                    unscaled.tensors(), name(asked), unscaled.names()));
  return notes;
}

}  // namespace heft::cli
