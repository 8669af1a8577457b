#include "save/dtypes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/plan.hpp"

namespace heft::writer {
namespace {

constexpr auto common =
    std::to_array<DType>({DType::f32, DType::bf16, DType::f16, DType::f64, DType::c64, DType::c128, DType::i16,
                          DType::i32, DType::i64, DType::u8, DType::u16, DType::u32, DType::u64, DType::i8});

bool converts(const TensorView& view, DType dtype) {
  try {
    // The engine itself decides: a second table of conversions could disagree with it.
    LoadPlan plan;
    plan.add(view, dtype);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Returns the name of the item's dtype; for a dtype unknown to heft, the word of its file.
std::string word_of(const SaveItem& item) {
  if (item.dtype != DType::unknown) return std::string(name(item.dtype));
  return fmt::format("'{}'", core::escaped(item.view.dtype_name()));
}

}  // namespace

std::optional<Unwritable> unwritable(std::span<const SaveItem> items, const format::Writer& writer) {
  const auto first = std::ranges::find_if(items, [&](const SaveItem& item) { return !writer.has(item.dtype); });
  if (first == items.end()) return std::nullopt;
  const std::string word = word_of(*first);
  const auto count = std::ranges::count_if(
      items, [&](const SaveItem& item) { return item.dtype == first->dtype && word_of(item) == word; });
  return Unwritable{static_cast<std::size_t>(first - items.begin()), static_cast<std::size_t>(count),
                    fmt::format("{} has no dtype for {}{}", writer.name, word,
                                count == 1 ? "" : fmt::format(" ({} tensors)", count))};
}

std::vector<DType> writable_as(const TensorView& view, const format::Writer& writer) {
  std::vector<DType> dtypes;
  for (const DType dtype : common)
    // In the order of `common`, the likeliest first: dtype_list() shows three.
    if (writer.has(dtype) && converts(view, dtype)) dtypes.push_back(dtype);
  return dtypes;
}

std::string dtype_list(std::span<const DType> dtypes) {
  constexpr std::size_t max_listed = 3;
  const std::span<const DType> shown = dtypes.first(std::min(dtypes.size(), max_listed));
  std::string list;
  for (std::size_t i = 0; i < shown.size(); ++i)
    list += fmt::format("{}{}", i == 0 ? "" : i + 1 == shown.size() ? " or " : ", ", name(shown[i]));
  return list;
}

void require_dtypes(std::span<const SaveItem> items, const format::Writer& writer) {
  const auto found = unwritable(items, writer);
  if (!found) return;
  // The place is that of the source, where the dtype comes from; the new file has no bytes yet.
  const TensorView& view = items[found->first].view;
  const std::vector<DType> others = writable_as(view, writer);
  const std::string advice = others.empty() ? std::string("and heft converts it to none that the format has")
                                            : "convert it to " + dtype_list(others);
  throw Error(ErrorCode::unsupported, fmt::format("{}{}{}", found->message, others.empty() ? ", " : "; ", advice),
              {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
}

}  // namespace heft::writer
