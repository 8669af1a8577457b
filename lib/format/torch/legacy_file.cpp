// format/torch/legacy_file.cpp: reader of PyTorch's files before 1.6 (and of _use_new_zipfile_serialization=False), and
// of bare pickles.
//
//   pickle  0x1950a86a20f9469cfc6c
//   pickle  1001
//   pickle  {protocol_version: 1001, little_endian: ..., type_sizes: ...}
//   pickle  the object; its storages are persistent ids
//   pickle  [key, ...]
//   i64     elements        \  for each key, in that order; little-endian whatever the dict says
//   bytes   the elements    /
//
// There is no index: the places of the storages follow from the fifth pickle. The elements can then be mapped as in
// other formats.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/storage_stream.hpp"
#include "format/torch/tree.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::string_view magic_bytes = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::string_view magic_operation = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // LONG1
constexpr std::string_view magic_line = "L119547037146038801333356L\n";  // LONG, protocols 0 and 1
constexpr std::size_t magic_reach = 32;                                  // PROTO and FRAME can precede it
constexpr std::int64_t protocol = 1001;
constexpr std::uint64_t chunk_bytes = 4096;  // small at first, because arrays between pickles are skipped; chunks grow

bool matches_legacy(std::span<const std::byte> head, std::uint64_t) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), std::min(head.size(), magic_reach));
  // Protocol 2 and later start with PROTO (0x80); protocols 0 and 1 have no such head.
  return text.starts_with(magic_line) || (text.starts_with('\x80') && text.find(magic_operation) != text.npos);
}

bool matches_pickle(std::span<const std::byte> head, std::uint64_t) noexcept {
  return head.size() >= 2 && head[0] == std::byte{0x80} && head[1] >= std::byte{2} && head[1] <= std::byte{5};
}

// Reads the first pickle, PyTorch's magic number.
void require_magic(core::Cursor& cursor, const Limits& limits) {
  const Pickle pickle = read_pickle(cursor, limits, "the magic number");
  const PickleValue& value = pickle[pickle.root];
  // The number has 80 bits, so it is compared as the bytes of its operand.
  if (value.kind != PickleKind::big_integer || std::string_view(value.text, value.count) != magic_bytes)
    throw Error(ErrorCode::corrupt, "expected PyTorch's magic number 0x1950a86a20f9469cfc6c", {.offset = pickle.begin});
}

// Reads the second pickle, the version of the layout.
void require_protocol(core::Cursor& cursor, const Limits& limits) {
  const Pickle pickle = read_pickle(cursor, limits, "the protocol version");
  const PickleValue& value = pickle[pickle.root];
  if (value.kind != PickleKind::integer || value.integer != protocol)
    throw Error(ErrorCode::unsupported, fmt::format("expected protocol version {}", protocol),
                {.offset = pickle.begin});
}

// Reads the third pickle, the dict about the machine that saved.
void require_system_info(core::Cursor& cursor, const Limits& limits) {
  const Pickle pickle = read_pickle(cursor, limits, "the system info");
  // Its values describe the machine that saved. They are not used: type sizes and byte order of the file are fixed.
  if (pickle.kind(pickle.root) != PickleKind::dict)
    throw Error(ErrorCode::corrupt, "expected the system info as a dict", {.offset = pickle.begin});
}

Catalog read_legacy(const core::Input& input, const ReadOptions& options) {
  core::Cursor cursor(input, 0, input.size_bytes(), chunk_bytes);
  require_magic(cursor, options.limits);
  require_protocol(cursor, options.limits);
  require_system_info(cursor, options.limits);
  // Arrays in the object are left in the file; the other pickles have none.
  Pickle object = read_pickle(cursor, options.limits, "the object's pickle", &input);
  TorchObjects objects = interpret(std::move(object), options, "the object's pickle");
  // The list comes after the object, so storages are placed when all of their mentions are known.
  const Pickle keys = read_pickle(cursor, options.limits, "the list of storages");
  const std::uint64_t end = place_in_stream(input, cursor.offset(), input.size_bytes(), keys, objects);
  // The stream has no checksum: an exact end is the only sign that all counts were right.
  if (end != input.size_bytes())
    throw Error(ErrorCode::corrupt, fmt::format("{} bytes after the last storage", input.size_bytes() - end),
                {.offset = end});
  return catalog_of(input, torch_legacy_format.name, "PyTorch stream, before 1.6", std::move(objects), options);
}

/// Reads a file of one pickle: NumPy arrays are tensors, other values are records.
Catalog read_bare(const core::Input& input, const ReadOptions& options) {
  core::Cursor cursor(input, 0, input.size_bytes(), chunk_bytes);
  TorchObjects objects = interpret(read_pickle(cursor, options.limits, "the pickle", &input), options, "the pickle");
  if (cursor.remaining() != 0)
    throw Error(ErrorCode::corrupt, fmt::format("{} bytes after the pickle's STOP", cursor.remaining()),
                {.offset = cursor.offset()});
  return catalog_of(input, pickle_format.name, "bare pickle", std::move(objects), options);
}

}  // namespace

constinit const Format torch_legacy_format{
    .name = "torch-legacy",
    .suffixes = ".pt .pth .bin",
    .family = Family::torch,
    .reads = "PyTorch 0.1.10 to 1.5, mapped like any other; nothing is executed",
    .matches = matches_legacy,
    .read = read_legacy,
};

constinit const Format pickle_format{
    .name = "pickle",
    .suffixes = ".pkl .pickle",
    .family = Family::torch,
    .reads = "protocols 2 to 5, with NumPy arrays; nothing is executed",
    .matches = matches_pickle,
    .read = read_bare,
};

}  // namespace heft::format
