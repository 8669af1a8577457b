// bench/maker/writers.hpp: one function a file format that checkpoints are made in.
#pragma once

#include <filesystem>

#include "maker/model.hpp"
#include "progress.hpp"

namespace bench {

/// One safetensors file at `path`; or, for a model of several shards, a folder with an index, as on Hugging Face.
void write_safetensors(const Model& model, const std::filesystem::path& path, Progress& progress);

/// What torch.save(state_dict) writes today: a zip archive with `data.pkl` and one record a storage.
void write_torch_zip(const Model& model, const std::filesystem::path& path, Progress& progress);

/// What torch.save wrote before version 1.6: five pickles, then the storages.
void write_torch_legacy(const Model& model, const std::filesystem::path& path, Progress& progress);

/// GGUF version 3, in row-major order with ggml's reversed dims. Blocks are random ones: nothing is quantized.
void write_gguf(const Model& model, const std::filesystem::path& path, Progress& progress);

/// A record of Burn whose parameters are lists of numbers (.mpk).
void write_burn_lists(const Model& model, const std::filesystem::path& path, Progress& progress);

/// The same in gzip (.mpk.gz). Holds all of it in memory.
void write_burn_lists_gzip(const Model& model, const std::filesystem::path& path, Progress& progress);

}  // namespace bench
