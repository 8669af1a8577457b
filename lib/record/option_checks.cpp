#include "record/option_checks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"

namespace heft::record {
namespace {

// Returns true when all shards are of formats that may lack the byte order.
bool may_lack_byte_order(const State& state) {
  return std::ranges::all_of(state.shards, [](const auto& shard) {
    const format::Format* format = format::find_format(shard->catalog->format);
    return format != nullptr && format->may_lack_byte_order;
  });
}

[[noreturn]] void fail_inapplicable(const State& state, std::string_view option, std::string_view expected) {
  const std::string_view found =
      state.shards.empty() ? std::string_view("another") : state.shards.front()->catalog->format;
  throw Error(ErrorCode::out_of_range, fmt::format("{}: expected {}, this one is {}", option, expected, found),
              {.path = state.path});
}

}  // namespace

void require_applicable(const OpenOptions& options, const State& state) {
  const bool is_pytorch = state.is_pytorch();
  if (!options.torch.top_level_key.empty() && !is_pytorch)
    fail_inapplicable(state, fmt::format("top_level_key '{}'", core::escaped(options.torch.top_level_key)),
                      "a PyTorch file");
  if (options.torch.strict_globals && !is_pytorch)
    fail_inapplicable(state, "strict_globals", "a PyTorch file or a pickle");
  if (options.torch.big_endian_default && !may_lack_byte_order(state))
    fail_inapplicable(state, "big_endian_default", "a PyTorch zip, which may lack the record 'byteorder'");
}

void fail_no_keys(const OpenOptions& options, const State& state, std::string_view why) {
  throw Error(
      ErrorCode::out_of_range,
      fmt::format("top_level_key '{}': {}, there is no key to choose", core::escaped(options.torch.top_level_key), why),
      {.path = state.path});
}

}  // namespace heft::record
