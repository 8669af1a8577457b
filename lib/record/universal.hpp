// record/universal.hpp: opens universal checkpoints of DeepSpeed, which have a folder for each parameter:
//
//   FOLDER/zero/NAME/fp32.pt          {"param": the weight, "cat_dim": ..., ...}
//   FOLDER/zero/NAME/exp_avg.pt, ...  states of the optimizer
//   FOLDER/mp_rank_00_model_states.pt and other values
//   FOLDER/../latest_universal        the name of FOLDER
#pragma once

#include <memory>

#include "heft/checkpoint.hpp"
#include "record/directory.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Returns the folder in the file `latest_universal` of `folder`, and adds a note; null without that file, and if
/// `folder` is a checkpoint itself. Throws Error{not_found} if that folder does not exist, Error{refused} for an
/// invalid name.
std::shared_ptr<const Directory> latest_universal(const Directory& folder, State& state);

/// Returns the folder of the parameters if `folder` is such a checkpoint or that folder itself.
std::shared_ptr<const Directory> universal_parameters(const Directory& folder);

/// Fills the shards and the table of `state` with the weight of each parameter, under its name. A note counts the other
/// files.
///
/// Throws Error{not_found} with the number of parameters without fp32.pt, Error{corrupt} for a file that is not a
/// parameter's.
void open_universal(State& state, const Directory& folder, const Directory& parameters, const OpenOptions& options);

}  // namespace heft::record
