#include "cli/select.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_set>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

// Returns the number if it is the whole of `text`.
std::optional<std::int64_t> number_from(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Throws Error{out_of_range} with an example.
[[noreturn]] void refuse_ranges(std::string_view text) {
  throw Error(ErrorCode::out_of_range,
              fmt::format("expected ranges such as \"0:2,:\", found \"{}\"", core::escaped(text)));
}

// Returns `text` without spaces at its ends.
std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Parses a bound of a range. An empty one is `absent`; a negative one counts from the end.
std::int64_t bound(std::string_view text, std::int64_t absent, std::int64_t size, std::string_view whole) {
  text = trimmed(text);
  if (text.empty()) return absent;
  const auto value = number_from(text);
  if (!value) refuse_ranges(whole);
  // A bound that is outside even so is refused by slice().
  return *value < 0 ? *value + size : *value;
}

// Returns the view without the dim, which has one element.
TensorView without_dim(const TensorView& view, std::size_t dim) {
  std::vector<std::int64_t> dims;
  for (std::size_t i = 0; i < view.rank(); ++i)
    if (i != dim) dims.push_back(view.shape()[i]);
  return view.reshape(Shape(std::span<const std::int64_t>(dims)));
}

using Names = std::unordered_set<std::string>;

// Returns the names that match any of the patterns. Throws Error{not_found} for a pattern that matches none.
Names matching(const Checkpoint& checkpoint, const std::vector<std::string>& patterns) {
  Names names;
  for (const std::string& pattern : patterns) {
    const TensorRange matching = checkpoint.tensors(pattern);
    // A misspelled pattern would otherwise select nothing, or exclude nothing, without a word.
    if (matching.empty())
      throw Error(ErrorCode::not_found, fmt::format("no tensor matches '{}'", core::escaped(pattern)),
                  {.path = checkpoint.path()});
    for (const TensorView& view : matching) names.emplace(view.name());
  }
  return names;
}

}  // namespace

std::vector<TensorView> selected(const Checkpoint& checkpoint, const Selection& selection) {
  // Names, not views, so that patterns that overlap select a tensor once, in file order.
  const Names wanted = matching(checkpoint, selection.select);
  const Names unwanted = matching(checkpoint, selection.exclude);
  std::vector<TensorView> views;
  for (const TensorView& view : checkpoint.tensors()) {
    const std::string name(view.name());
    if ((selection.select.empty() || wanted.contains(name)) && !unwanted.contains(name)) views.push_back(view);
  }
  return views;
}

DType dtype_from(const std::string& text) {
  if (const auto dtype = dtype_from_name(text)) return *dtype;
  throw Error(ErrorCode::out_of_range,
              fmt::format("no dtype is called '{}'; f32, bf16, f16, f8_e4m3 are some", core::escaped(text)));
}

IoMethod io_method_from(const std::string& text, Access access) {
  if (text == name(IoMethod::map) && access == Access::read)
    throw Error(ErrorCode::out_of_range, "--io map contradicts --no-mmap: expected one of them");
  for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read})
    if (name(path) == text) return path;
  throw Error(ErrorCode::out_of_range,
              fmt::format("expected --io automatic, map, direct or read, found '{}'", core::escaped(text)));
}

DType dtype_for(const TensorView& view, DType asked) noexcept {
  const DTypeCategory category = info(view.dtype()).category;
  const bool is_complex = category == DTypeCategory::complex;
  // A complex dtype is for complex numbers only, and a real one never drops imaginary parts.
  if (info(asked).category == DTypeCategory::complex) return is_complex ? asked : view.dtype();
  return category == DTypeCategory::real || category == DTypeCategory::block ? asked : view.dtype();
}

TensorView sliced(const TensorView& view, const std::string& ranges) {
  TensorView result = view;
  std::string_view rest = ranges;
  std::size_t dim = 0;
  for (bool more = !ranges.empty(); more;) {
    const std::size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view range = trimmed(rest.substr(0, comma));
    // A comma at the end leaves an empty range behind it, which is refused below.
    if (more) rest.remove_prefix(comma + 1);
    if (dim >= result.rank())
      throw Error(ErrorCode::out_of_range,
                  fmt::format("expected at most {} ranges for shape {}, found \"{}\"", view.rank(),
                              to_string(view.shape()), core::escaped(ranges)),
                  {.tensor = std::string(view.name())});
    // Of the view so far: dims in front have been cut or removed.
    const std::int64_t size = result.shape()[dim];
    const std::size_t colon = range.find(':');
    const std::int64_t begin = bound(range.substr(0, colon), 0, size, ranges);
    if (colon == std::string_view::npos) {
      if (range.empty()) refuse_ranges(ranges);
      // `dim` stays: the next range is for the dim that has taken its place.
      // The largest index has no successor; it is out of range of every dim.
      const std::int64_t end = begin == std::numeric_limits<std::int64_t>::max() ? begin : begin + 1;
      result = without_dim(result.slice(dim, begin, end), dim);
    } else {
      result = result.slice(dim++, begin, bound(range.substr(colon + 1), size, size, ranges));
    }
  }
  return result;
}

ShardOf shard_from(const std::string& text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  // -1 and 0 make all malformed texts fail the one test below.
  const std::int64_t rank = number_from(std::string_view(text).substr(0, slash)).value_or(-1);
  const std::int64_t size =
      slash == text.size() ? 0 : number_from(std::string_view(text).substr(slash + 1)).value_or(0);
  if (rank < 0 || rank >= size)
    throw Error(
        ErrorCode::out_of_range,
        fmt::format("expected a shard such as 3/8 (rank 3 of 8, counted from 0), found '{}'", core::escaped(text)));
  return {rank, size};
}

}  // namespace heft::cli
