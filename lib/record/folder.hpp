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
    meta,   ///< Meta's consolidated.NN.pth in the order of NN, beside params.json.
  };
  Kind kind = Kind::file;
  std::vector<std::string> names;
};

/// Hugging Face's order: model.safetensors, its index, pytorch_model.bin, its index (a variant's where only that is
/// there), the index of a distributed checkpoint, Meta's parts; else the only file, or the only complete set of
/// numbered parts, with an ending of model weights. Throws Error{not_found} when there is none, Error{ambiguous} naming
/// some when there are several.
Choice choose(const mmap::Folder& folder);

/// Throws Error{refused} unless `name`, which a file declares as its sibling, is a plain name: 1 to 255 bytes without '/', '\', control
/// characters, and not "." or "..". Then it cannot leave the folder.
void require_plain_name(std::string_view name, const std::string& declared_in);

}  // namespace heft::record
