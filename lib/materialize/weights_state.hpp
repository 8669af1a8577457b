// materialize/weights_state.hpp: the state of Weights.
#pragma once

#include <vector>

#include "core/name_table.hpp"
#include "heft/weights.hpp"

namespace heft {

struct [[gnu::visibility("hidden")]] Weights::State {
  std::vector<Tensor> tensors;
  core::NameTable names;
  LoadStats stats;
};

}  // namespace heft

namespace heft::engine {

struct WeightsAccess {
  /// `names` has the tensors' names in their order.
  static Weights make(std::vector<Tensor> tensors, core::NameTable names, LoadStats stats);
};

}  // namespace heft::engine
