// format/torch/embedded.hpp: reader of torch.save files inside another file, as in distributed checkpoints.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/format.hpp"

namespace heft::format {

/// A file of torch.save in the bytes [begin, begin + size) of another one. All offsets read from it are relative to the
/// outer file.
struct TorchEmbedded {
  const core::Input& file;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  const ReadOptions& options;
};

/// Returns its only tensor, named `name`, which must outlive `into`; dims and dtype names go to `into`.
///
/// Throws Error{corrupt} unless it holds exactly one tensor, and the errors of PyTorch's format.
TensorEntry read_embedded_tensor(const TorchEmbedded& source, std::string_view name, Catalog& into);

/// Adds its contents to `into`: a value named `name`, or the tensors and values of a container with tensors, under
/// names that start with `name` and a dot. Throws the errors of PyTorch's format.
void read_embedded_value(const TorchEmbedded& source, std::string_view name, Catalog& into);

}  // namespace heft::format
