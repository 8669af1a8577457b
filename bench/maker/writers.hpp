// bench/maker/writers.hpp: one function for each file format in which checkpoints are made.
#pragma once

#include <filesystem>

#include "maker/model.hpp"
#include "progress.hpp"

namespace bench {

/// Writes one safetensors file at `path`; for a model of several shards a folder with an index, as on Hugging Face.
void write_safetensors(const Model& model, const std::filesystem::path& path, Progress& progress);

/// Writes a zip archive with `data.pkl` and one record per storage, as torch.save(state_dict) does since version 1.6.
void write_torch_zip(const Model& model, const std::filesystem::path& path, Progress& progress);

/// Writes five pickles, then the storages, as torch.save did before version 1.6.
void write_torch_legacy(const Model& model, const std::filesystem::path& path, Progress& progress);

/// Writes GGUF version 3, with ggml's reversed dims. Blocks are random; nothing is quantized.
void write_gguf(const Model& model, const std::filesystem::path& path, Progress& progress);

/// Writes a record of Burn whose parameters are lists of numbers (.mpk).
void write_burn_lists(const Model& model, const std::filesystem::path& path, Progress& progress);

/// Writes the same record in gzip (.mpk.gz). Holds all of it in memory.
void write_burn_lists_gzip(const Model& model, const std::filesystem::path& path, Progress& progress);

}  // namespace bench
