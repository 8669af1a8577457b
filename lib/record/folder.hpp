// record/folder.hpp: chooses the files of a folder that are the checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "record/directory.hpp"

namespace heft::record {

/// The chosen files of a folder.
struct Choice {
  enum class Kind : std::uint8_t {
    file,   ///< One file, which can be an index.
    parts,  ///< Numbered files of one checkpoint without an index ("model-00001-of-00003.safetensors").
    ranks,  ///< Files with pieces of tensors, one for each rank: see sharded_files.hpp.
    meta,   ///< Meta's consolidated.NN.pth in the order of NN, beside params.json.
  };
  Kind kind = Kind::file;
  std::vector<std::string> names;
  std::vector<std::string> unused = {};  ///< Other files named like weights, sorted; for an index, its files too.
  std::vector<std::string> notes = {};
};

/// Chooses in the order of Hugging Face's libraries: model.safetensors, its index, pytorch_model.bin, its index,
/// flax_model.msgpack, its index; their variants (model.fp16.safetensors) if only those exist; the index of a
/// distributed checkpoint; Meta's parts; else the only file, index or set of numbered parts with an ending of a format.
/// Files of a trainer (is_helper()) are ignored. In a folder without weights, chooses a file of a format that is
/// refused by name.
///
/// Throws Error{not_found} if there is none, with the contents of the folder, or with the missing parts of an
/// incomplete set; Error{ambiguous} with the candidates if there are several; Error{unsupported} for pieces of a
/// DeepSpeed checkpoint.
Choice choose(const Directory& folder);

}  // namespace heft::record
