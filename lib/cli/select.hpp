// cli/select.hpp: finds tensors, dtypes and slices by the arguments of the command line.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "heft/checkpoint.hpp"
#include "heft/load_stats.hpp"

namespace heft::cli {

/// Returns the selected tensors in file order. Throws Error{not_found} for a pattern that matches none.
std::vector<TensorView> selected(const Checkpoint& checkpoint, const Selection& selection);

/// Returns the dtype of that name. Throws Error{out_of_range}.
DType dtype_from(const std::string& text);
/// Returns the method of that name: "automatic", "map", "direct" or "read". Throws Error{out_of_range}, also for "map"
/// with Access::read, which never maps.
IoMethod io_method_from(const std::string& text, Access access);
/// Returns the dtype of a view under --dtype `asked`: that one for floats and blocks of quantized floats (for complex
/// numbers if `asked` is complex), its own dtype for integers, booleans and all others.
DType dtype_for(const TensorView& view, DType asked) noexcept;

/// Returns the slice "0:2,:,-1" of the view: start:end for each dim from the outermost; a single number selects that
/// element and removes the dim; negative numbers count from the end. Throws Error{out_of_range}.
TensorView sliced(const TensorView& view, const std::string& ranges);

/// Parses "3/8": part 3 of 8. Throws Error{out_of_range}.
struct ShardOf {
  std::int64_t tp_rank = 0;
  std::int64_t tp_size = 1;
};
ShardOf shard_from(const std::string& text);

}  // namespace heft::cli
