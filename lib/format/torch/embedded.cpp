#include "format/torch/embedded.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/torch/zip_file.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

/// A part of a file as an Input: offsets are relative to its first byte. Its two ends, which contain header and
/// directory, are read once each.
class PartInput final : public core::Input {
 public:
  PartInput(const core::Input& file, std::uint64_t begin, std::uint64_t size)
      : core::Input(file.budget()), file_(file), begin_(begin), size_(size) {
    core::require_inside(begin, size, file.size_bytes(), "the file");
    // A short part is one piece, and the other end is empty.
    const std::uint64_t head = size <= 2 * end_bytes ? size : end_bytes;
    ends_[0] = {0, head, {}};
    ends_[1] = {size - std::min(size - head, end_bytes), size, {}};
  }

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_; }

  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override {
    core::require_inside(offset, size, size_, "the embedded file");
    for (End& end : ends_) {
      // Reads that lie in one of the ends are served from memory: the zip reader makes several small ones at each.
      if (offset < end.begin || offset + size > end.end) continue;
      if (end.bytes.empty() && end.begin < end.end) end.bytes = file_.read(begin_ + end.begin, end.end - end.begin);
      return end.bytes.subrange(offset - end.begin, size);
    }
    return file_.read(begin_ + offset, size);
  }

 private:
  static constexpr std::uint64_t end_bytes = 4096;
  struct End {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    Bytes bytes;
  };

  const core::Input& file_;
  std::uint64_t begin_;
  std::uint64_t size_;
  mutable std::array<End, 2> ends_;
};

/// Calls `read` with the part and converts the offsets of errors to offsets in the file.
template <class Read>
void in_part(const TorchEmbedded& source, const Read& read) {
  const PartInput part(source.file, source.begin, source.size);
  const Bytes head = part.read(0, std::min<std::uint64_t>(head_bytes, source.size));
  // torch.distributed.checkpoint writes chunks with torch.save(), whose format is a zip since 1.6.
  if (!torch_zip_format_matches(head.span()))
    throw Error(ErrorCode::unsupported,
                "expected a zip file of torch.save in the distributed checkpoint, found other bytes",
                {.offset = source.begin});
  try {
    read(part);
  } catch (const Error& error) {
    ErrorPlace place = error.place();
    // Inner offsets are relative to the part; an error without one is reported at its start.
    place.offset = source.begin + error.offset().value_or(0);
    throw Error(error.code(), error.message(), std::move(place));
  }
}

}  // namespace

TensorEntry read_embedded_tensor(const TorchEmbedded& source, std::string_view name, Catalog& into) {
  // A catalog of its own: the tensor has another name and position in `into`.
  Catalog part{into.budget};
  in_part(source, [&](const core::Input& input) { read_torch_zip(input, source.options, {source.begin, name}, part); });
  if (part.tensors.size() != 1 || !part.values.empty())
    throw Error(ErrorCode::corrupt,
                fmt::format("expected a chunk that is one tensor, found {} tensors and {} values", part.tensors.size(),
                            part.values.size()),
                {.tensor = std::string(name), .offset = source.begin});
  TensorEntry entry = part.tensors.front();
  // Members of the part's catalog would have to be moved; no writer deflates chunks.
  if (entry.member != none)
    throw Error(ErrorCode::unsupported, "expected a stored chunk, found a deflated one",
                {.tensor = std::string(name), .offset = source.begin});
  entry.name = name;
  if (entry.type_name != none) into.set_unknown_dtype(entry, into.arena.store(part.type_names[entry.type_name]));
  // set_dims() sets the flag again if there are strides, and the index of the dims in the other table.
  entry.flags = static_cast<std::uint8_t>(entry.flags & ~TensorFlag::strided);
  into.set_dims(entry, part.sizes(part.tensors.front()), part.strides(part.tensors.front()));
  into.checksums.insert(into.checksums.end(), part.checksums.begin(), part.checksums.end());
  return entry;
}

void read_embedded_value(const TorchEmbedded& source, std::string_view name, Catalog& into) {
  in_part(source, [&](const core::Input& input) { read_torch_zip(input, source.options, {source.begin, name}, into); });
}

}  // namespace heft::format
