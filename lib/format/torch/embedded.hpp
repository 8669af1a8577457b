// format/torch/embedded.hpp: files of torch.save that lie inside another file, as distributed checkpoints keep them.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/format.hpp"

namespace heft::format {

/// A file of torch.save, [begin, begin + size) of another one. All offsets that come out of it count in that other
/// file.
struct TorchEmbedded {
  const core::Input& file;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  const ReadOptions& options;
};

/// The one tensor that it holds, under `name`, which must outlive `into`; dims and dtype names go to `into`.
///
/// Throws Error{corrupt} when it holds anything but one tensor, and what the format of PyTorch throws.
TensorEntry read_embedded_tensor(const TorchEmbedded& source, std::string_view name, Catalog& into);

/// Adds what it holds to `into`: a value under `name`, or the tensors and values of a container that has tensors, under
/// names that start with `name` and a dot. Throws what the format of PyTorch throws.
void read_embedded_value(const TorchEmbedded& source, std::string_view name, Catalog& into);

}  // namespace heft::format
