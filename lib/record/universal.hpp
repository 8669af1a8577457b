// record/universal.hpp: the universal checkpoint of DeepSpeed, a folder for each parameter:
//
//   FOLDER/zero/NAME/fp32.pt          {"param": the weight, "cat_dim": ..., ...}
//   FOLDER/zero/NAME/exp_avg.pt, ...  states of the optimizer
//   FOLDER/mp_rank_00_model_states.pt and other values
//   FOLDER/../latest_universal        the name of FOLDER
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "mmap/descriptor_pool.hpp"
#include "mmap/file.hpp"
#include "record/state.hpp"

namespace heft::record {

/// The folder that `latest_universal` in `folder` names, with a note; nothing without that file, and where `folder` is a
/// checkpoint itself. Throws Error{not_found} where what it names is not there, Error{refused} for a name that is none.
std::optional<std::string> latest_universal(const mmap::Folder& folder, State& state);

/// The folder of the parameters, where `folder` is such a checkpoint or that folder itself.
std::shared_ptr<const mmap::Folder> universal_parameters(const mmap::Folder& folder);

/// Fills the shards and the table of `state`: of each parameter its weight, under its name. What else is there is counted
/// in a note.
///
/// Throws Error{not_found} counting the parameters without fp32.pt, Error{corrupt} for a file that is no parameter's.
void open_universal(State& state, const mmap::Folder& folder, const mmap::Folder& parameters, const OpenOptions& options,
                    const std::shared_ptr<mmap::DescriptorPool>& descriptors);

}  // namespace heft::record
