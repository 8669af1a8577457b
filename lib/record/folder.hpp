// record/folder.hpp: which files of a folder are the checkpoint, and which names may be looked up beside a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mmap/file.hpp"

namespace heft::record {

/// What was chosen.
struct Choice {
  enum class Kind : std::uint8_t {
    file,   ///< One file, perhaps an index.
    parts,  ///< Files that together are one checkpoint, each listing its own tensors ("model-00001-of-00003.safetensors" without an index).
    ranks,  ///< Files of pieces, which together are whole: see sharded_files.hpp.
    meta,   ///< Meta's consolidated.NN.pth in the order of NN, beside params.json.
  };
  Kind kind = Kind::file;
  std::vector<std::string> names;
  std::vector<std::string> unused = {};  ///< Other files there that are named like weights, sorted; of an index, the files that it names too.
  std::vector<std::string> notes = {};
};

/// Hugging Face's order: model.safetensors, its index, pytorch_model.bin, its index, flax_model.msgpack, its index; their variants
/// (model.fp16.safetensors) where only those are there; the index of a distributed checkpoint; Meta's parts; else the only file, index or set of numbered parts that a format's
/// endings call weights. What a trainer keeps beside the model (is_helper()) is not looked at. A folder that holds no weights but a file of
/// a format that is refused by name gives that file.
///
/// Throws Error{not_found} when there is none, with what there is instead; for a set of parts that is incomplete, with the parts that are
/// missing; Error{ambiguous} naming the candidates when there are several; Error{unsupported} for pieces of a DeepSpeed checkpoint.
Choice choose(const mmap::Folder& folder);

/// Throws Error{refused} unless `name`, which a file declares as its sibling, is a plain name: 1 to 255 bytes without '/', '\', control
/// characters, and not "." or "..". Then it cannot leave the folder.
void require_plain_name(std::string_view name, const std::string& declared_in);

}  // namespace heft::record
