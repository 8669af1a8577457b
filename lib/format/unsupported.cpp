// format/unsupported.cpp: formats that heft recognizes by their first bytes but does not read. The error contains the
// name of the format and advice.
//
// A row matches only a signature with which no supported format can start, so the order of the rows does not matter.
// Where there is no magic (the protobuf messages of ONNX and TensorFlow), several fields must have the values that
// their writers put there.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "core/endian.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace refused {
namespace {

/// The first bytes of a file, as text.
struct Head {
  std::string_view bytes;
  std::uint64_t file_size;

  [[nodiscard]] bool has(std::size_t at, std::string_view magic) const noexcept {
    return at <= bytes.size() && bytes.substr(at).starts_with(magic);
  }
  [[nodiscard]] int at(std::size_t index) const noexcept {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : -1;
  }
};

// ---- protobuf ----
// A field is a tag (number << 3 | wire type) followed by a varint, or by a varint length and that many bytes.

/// Reads the varint at `at` and moves `at` past it. Returns false if there is none or it ends outside the head.
bool take_varint(const Head& head, std::size_t& at, std::uint64_t& value) noexcept {
  value = 0;
  // Seven bits a byte, the lowest first; the top bit marks that another byte follows. Nine bytes hold 63 bits, more
  // than any length in the head has.
  for (unsigned shift = 0; shift < 63; shift += 7) {
    const int byte = head.at(at++);
    if (byte < 0) return false;
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/// Reads the bytes of the field with that tag at `at` and moves `at` past them. Returns false if another field is there
/// or the bytes end outside the head.
bool take_field(const Head& head, std::size_t& at, int tag, std::string_view& value) noexcept {
  std::uint64_t size = 0;
  // at() returns -1 past the head, which equals no tag.
  if (head.at(at) != tag || !take_varint(head, ++at, size) || at > head.bytes.size() || size > head.bytes.size() - at)
    return false;
  value = head.bytes.substr(at, static_cast<std::size_t>(size));
  at += static_cast<std::size_t>(size);
  return true;
}

// Returns true for printable ASCII without blanks, as names in models are.
bool is_word(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char letter) { return letter > ' ' && letter <= '~'; });
}

// ---- the signatures ----

bool is_ggml(const Head& head) noexcept {
  // The magics "ggml", "ggmf", "ggjt" and "ggla" are numbers of 32 bits, so the file has their bytes in reverse.
  return head.has(0, "lmgg") || head.has(0, "fmgg") || head.has(0, "tjgg") || head.has(0, "algg");
}

constexpr std::string_view hdf5_magic = "\x89HDF\r\n\x1A\n";

bool is_hdf5(const Head& head) noexcept { return head.has(0, hdf5_magic); }

/// HDF5 with a user block in front: the superblock lies at 512 or a higher power of two, where other files can have
/// payload.
bool is_hdf5_behind(const Head& head) noexcept {
  return head.has(512, hdf5_magic) || head.has(1024, hdf5_magic) || head.has(2048, hdf5_magic);
}

/// A flatbuffer: the offset of its root, two marks.
bool is_executorch(const Head& head) noexcept { return head.has(4, "FT01") && head.has(8, "FH01"); }
bool is_tflite(const Head& head) noexcept { return head.has(4, "TFL3"); }

/// Returns the name in a zip's first local header; empty if this is not a zip.
std::string_view first_zip_name(const Head& head) noexcept {
  constexpr std::size_t size_at = 26;
  constexpr std::size_t name_at = 30;
  if (!head.has(0, "PK\x03\x04") || head.bytes.size() < name_at) return {};
  return head.bytes.substr(name_at, static_cast<std::size_t>(head.at(size_at) | head.at(size_at + 1) << 8));
}

/// Keras writes its version into the first member.
bool is_keras(const Head& head) noexcept {
  const std::string_view first = first_zip_name(head);
  return first == "model.weights.h5" ||
         (first == "metadata.json" && head.bytes.find("keras_version") != std::string_view::npos);
}

/// ModelProto: ir_version, then producer_name, and after it a field that this message has.
bool is_onnx(const Head& head) noexcept {
  // producer_version (3), domain (4), model_version (5, a varint), doc_string (6), graph (7), opset_import (8) and
  // metadata_props (14).
  constexpr std::string_view tags_after_name = "\x1A\x22\x28\x32\x3A\x42\x72";
  std::size_t at = 2;
  std::string_view producer;
  // ir_version is a varint of one byte: published versions are 1 to 13.
  if (head.at(0) != 0x08 || head.at(1) < 1 || head.at(1) > 0x20) return false;
  if (!take_field(head, at, 0x12, producer) || !is_word(producer)) return false;
  return at < head.bytes.size() && tags_after_name.find(head.bytes[at]) != std::string_view::npos;
}

/// SavedModel: schema version 1, then a MetaGraphDef that ends in the file and starts with its meta_info_def.
bool is_saved_model(const Head& head) noexcept {
  std::size_t at = 3;
  std::uint64_t size = 0;
  // The size of the MetaGraphDef must fit the file: three bytes of magic are too few.
  return head.has(0, "\x08\x01\x12") && take_varint(head, at, size) && size > 2 && at <= head.file_size &&
         size <= head.file_size - at && head.at(at) == 0x0A;
}

/// GraphDef: a NodeDef that starts with its name and its op, which is CamelCase.
bool is_graph(const Head& head) noexcept {
  std::size_t at = 1;
  std::uint64_t size = 0;
  // Fields 1 and 2 of a NodeDef inside field 1 of the GraphDef. TensorFlow's names of operations are CamelCase
  // ("Const", "MatMul"), which text that happens to have these lengths is rarely.
  std::string_view name, op;
  return head.at(0) == 0x0A && take_varint(head, at, size) && size <= head.file_size &&
         take_field(head, at, 0x0A, name) && is_word(name) && take_field(head, at, 0x12, op) && is_word(op) &&
         op[0] >= 'A' && op[0] <= 'Z';
}

/// The index of a TensorFlow checkpoint: a table whose first key is empty and whose first value starts with num_shards,
/// then the version.
bool is_tensor_bundle(const Head& head) noexcept {
  // An entry of the table starts with three varints: bytes of the key shared with the one before (0), other bytes of
  // the key (0), bytes of the value. The value is a BundleHeaderProto: num_shards (1), endianness (2), version (3).
  if (head.at(0) != 0 || head.at(1) != 0 || head.at(2) < 6 || head.at(2) > 32 || head.at(3) != 0x08) return false;
  std::size_t at = 4;
  std::uint64_t shards = 0;
  return take_varint(head, at, shards) && shards > 0 &&
         head.bytes.substr(at, 16).find("\x1A\x02\x08\x01") != std::string_view::npos;
}

struct Row {
  std::string_view name;
  std::string_view advice;
  bool (*matches)(const Head&) noexcept;
};

/// The header of a zlib stream: two bytes, of which the second contains a check value.
bool is_zlib(const Head& head) noexcept {
  return head.at(0) == 0x78 && (head.at(1) == 0x01 || head.at(1) == 0x5E || head.at(1) == 0x9C || head.at(1) == 0xDA);
}

/// The header of lzma's first format: properties, the window, a power of two from 4 KiB on, and a size that may be
/// unknown.
bool is_lzma(const Head& head) noexcept {
  // 0x5D are the default properties (lc 3, lp 0, pb 2). The size is 64 bits: all ones if unknown, else below 2^40.
  if (head.at(0) != 0x5D || head.bytes.size() < 13) return false;
  const auto window = core::load_le<std::uint32_t>(reinterpret_cast<const std::byte*>(head.bytes.data() + 1));
  return window >= 4096 && std::has_single_bit(window) &&
         (head.has(5, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF") || head.has(10, std::string_view("\0\0\0", 3)));
}

/// Signatures in the first bytes of the file.
constexpr Row sure_rows[] = {
    {"a ggml file of before GGUF (ggml, ggmf, ggjt or ggla)",
     "convert it with llama.cpp's convert_llama_ggml_to_gguf.py", is_ggml},
    {"HDF5 (Keras .h5, older NetCDF)", "load it with Keras or h5py and save the arrays as safetensors or .npz",
     is_hdf5},
    {"a Keras 3 archive (.keras)", "load it with Keras and save the weights as safetensors or .npz", is_keras},
    {"a 7z archive", "unpack it first", [](const Head& head) noexcept { return head.has(0, "7z\xBC\xAF\x27\x1C"); }},
    {"a RAR archive", "unpack it first", [](const Head& head) noexcept { return head.has(0, "Rar!\x1A\x07"); }},
    {"a file compressed by xz", "unpack it first (xz -d)",
     [](const Head& head) noexcept {
       return head.has(0, std::string_view("\xFD"
                                           "7zXZ\0",
                                           6));
     }},
    {"a file compressed by bzip2", "unpack it first (bzip2 -d)",
     [](const Head& head) noexcept { return head.has(0, "BZh") && head.has(4, "\x31\x41\x59\x26\x53\x59"); }},
    {"a file compressed by zstd", "unpack it first (zstd -d)",
     [](const Head& head) noexcept { return head.has(0, "\x28\xB5\x2F\xFD"); }},
    {"a file compressed by lz4", "unpack it first (lz4 -d)",
     [](const Head& head) noexcept { return head.has(0, "\x04\x22\x4D\x18") || head.has(0, "\x02\x21\x4C\x18"); }},
    {"a file compressed by lzip", "unpack it first (lzip -d)",
     [](const Head& head) noexcept { return head.has(0, "LZIP\x01"); }},
    {"an empty zip archive", "it holds nothing; download it again",
     [](const Head& head) noexcept { return head.has(0, "PK\x05\x06"); }},
    {"a file of PyTorch's preview release (PYTORCH1)", "PyTorch itself no longer reads it",
     [](const Head& head) noexcept { return head.has(0, "PYTORCH1"); }},
    {"a Git LFS pointer, not the file itself", "fetch the file with git lfs pull",
     [](const Head& head) noexcept { return head.has(0, "version https://git-lfs.github.com/spec/"); }},
    {"a TensorFlow SavedModel", "load it with TensorFlow and save the variables as safetensors or .npz",
     is_saved_model},
    {"a TensorFlow graph (frozen .pb)", "load it with TensorFlow and save the constants as safetensors or .npz",
     is_graph},
    {"the index of a TensorFlow checkpoint",
     "load the checkpoint with TensorFlow and save the variables as safetensors or .npz", is_tensor_bundle},
    {"ONNX", "save the initializers with onnx.numpy_helper as safetensors or .npz, or the original model", is_onnx},
};

/// Signatures at places where files of any other format can have the same bytes by chance.
constexpr Row weak_rows[] = {
    {"HDF5 (Keras .h5, older NetCDF)", "load it with Keras or h5py and save the arrays as safetensors or .npz",
     is_hdf5_behind},
    {"an ExecuTorch data file (.ptd)", "save the model's state dict as safetensors instead", is_executorch},
    {"a TensorFlow Lite model (.tflite)", "save the original model's weights as safetensors or .npz", is_tflite},
    {"a zlib stream, as joblib compresses with it", "load it with joblib and save the arrays as .npz", is_zlib},
    {"a file compressed by lzma, as joblib does with it",
     "load it with joblib and save the arrays as .npz, or unpack it first (unlzma)", is_lzma},
};

// Returns the first row that matches, or null.
const Row* find_row(std::span<const Row> rows, std::span<const std::byte> bytes, std::uint64_t file_size) noexcept {
  const Head head{{reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file_size};
  for (const Row& row : rows)
    if (row.matches(head)) return &row;
  return nullptr;
}

bool matches(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  return find_row(sure_rows, head, file_size) != nullptr;
}

bool resembles(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  return find_row(weak_rows, head, file_size) != nullptr;
}

Catalog read(const core::Input& input, const ReadOptions&) {
  // matches() returned true for one row, but the reader gets no row from it: the signatures are compared again.
  const Bytes head = input.read(0, std::min<std::uint64_t>(head_bytes, input.size_bytes()));
  const Row* row = find_row(sure_rows, head.span(), input.size_bytes());
  // Called after resembles(), so a weak row matches.
  if (row == nullptr) row = find_row(weak_rows, head.span(), input.size_bytes());
  if (row == nullptr)
    throw Error(ErrorCode::unrecognized,
                "expected a file that is refused by name, its first bytes are no signature of one");
  throw Error(ErrorCode::unsupported, fmt::format("this is {}, which heft does not read: {}", row->name, row->advice),
              {.offset = 0});
}

}  // namespace
}  // namespace refused

const Format refused_format = {
    .name = "others",
    .suffixes =
        ".h5 .hdf5 .keras .onnx .pb .tflite .ptd .ggml .index .joblib .zip .tar .tar.gz .tgz .safetensors.gz .gguf.gz "
        ".bin.gz .pt.gz .pth.gz .7z .rar .xz .lzma .lz .bz2 .zst .lz4",
    .reads = "",
    .matches = refused::matches,
    .read = refused::read,
    .resembles = refused::resembles,
};

}  // namespace heft::format
