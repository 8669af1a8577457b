#include "format/formats.hpp"

#include <array>

namespace heft::format {
namespace {

// In the order in which they are tried. What decides is the first bytes alone, never a file's name, and the first that matches is the one
// that reads: a format that fails is not followed by another, because an attacker would choose the second. So a signature that says more
// stands above one that says less.
constinit const std::array in_order{
    &gguf_format,
    &npy_format,
    // A zip whose first member is an array; above the zips of PyTorch.
    &npz_format,
    &torch_zip_format,
    // A pickle that begins with PyTorch's number, above pickles that begin with anything.
    &torch_legacy_format,
    &torch_tar_format,
    &pickle_format,
    // No magic: a small version and a name that ends where its length says.
    &ctranslate2_format,
    // No magic: a plausible length and a '{' after it. Below every magic.
    &safetensors_format,
    // Any text that begins with '{'. Last.
    &index_json_format,
};

}  // namespace

std::span<const Format* const> formats() noexcept { return in_order; }

const Format* recognize(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  for (const Format* format : in_order)
    if (format->matches(head, file_size)) return format;
  return nullptr;
}

}  // namespace heft::format
