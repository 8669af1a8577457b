// format/torch/words.hpp: the finer kinds of values of a PyTorch pickle, and their names.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "format/pickle/pickle.hpp"

namespace heft::format {

/// The finer kind of a value: PickleValue::variant and Node::word. Names of one kind share a line.
// clang-format off: as above.
enum class TorchWord : std::uint8_t {
  plain,
  byte_array = PickleValue::byte_array,
  tuple, set, frozen_set, size, complex,                                       // lists
  ordered_dict, default_dict, counter, name_space, quantized, sparse, nested,  // maps
  dtype, device, layout, qscheme, path,                                        // texts
};

/// Catalog::words of all PyTorch formats, by TorchWord.
inline constexpr auto torch_words = std::to_array<std::string_view>({
  "",
  "bytearray",
  "tuple", "set", "frozenset", "torch.Size", "complex",
  "OrderedDict", "defaultdict", "Counter", "Namespace", "quantized tensor", "sparse tensor", "nested tensor",
  "torch.dtype", "torch.device", "torch.layout", "torch.qscheme", "Path",
});
// clang-format on
static_assert(torch_words.size() == static_cast<std::size_t>(TorchWord::path) + 1);

}  // namespace heft::format
