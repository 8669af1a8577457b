// cli/select.hpp: the tensors that patterns or names on the command line mean.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "heft/checkpoint.hpp"
#include "heft/load_stats.hpp"

namespace heft::cli {

/// Tensors that the selection means, in file order. Throws Error{not_found} for a pattern that matches none.
std::vector<TensorView> selected(const Checkpoint& checkpoint, const Selection& selection);

/// The dtype of that name. Throws Error{out_of_range}.
DType dtype_from(const std::string& text);
/// The path of that name: "automatic", "map", "direct" or "read". Throws Error{out_of_range}; for "map" also where
/// `access` is Access::read, which never maps.
Path path_from(const std::string& text, Access access);
/// The dtype that a view gets when --dtype asks for `asked`: that one for floats and blocks of quantized floats (for complex numbers when
/// `asked` is complex), its own for integers, booleans and all others.
DType dtype_for(const TensorView& view, DType asked) noexcept;

/// The view cut as "0:2,:,-1" says: begin:end for each dim from the outermost, a single number takes that element and removes the dim,
/// negative numbers count from the end. Throws Error{out_of_range}.
TensorView sliced(const TensorView& view, const std::string& ranges);

/// "3/8": part 3 of 8. Throws Error{out_of_range}.
struct ShardOf {
  std::int64_t tp_rank = 0;
  std::int64_t tp_size = 1;
};
ShardOf shard_from(const std::string& text);

}  // namespace heft::cli
