#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "format/formats.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::format;

namespace {

const Format* recognized(std::string_view file) {
  return recognize(std::as_bytes(std::span(file)).first(std::min(file.size(), head_bytes)), file.size());
}

struct Refused {
  const char* what;
  std::string file;
  const char* words;  ///< The format's name, then what to do.
  const char* advice;
};

std::string zip_of(std::string_view name) {
  std::string header = "PK\x03\x04" + std::string(26, '\0');
  header[26] = static_cast<char>(name.size());
  return header.append(name) + std::string(64, '\0');
}

}  // namespace

TEST_CASE("refused: refuses files of known formats by name, with advice") {
  const std::string zeros(64, '\0');
  const Refused table[] = {
      {"ggml", "lmgg" + zeros, "ggml", "convert_llama_ggml_to_gguf.py"},
      {"ggmf", "fmgg" + zeros, "ggml", "convert"},
      {"ggjt", "tjgg" + zeros, "ggml", "convert"},
      {"ggla", "algg" + zeros, "ggml", "convert"},
      {"HDF5 at 0", "\x89HDF\r\n\x1A\n" + zeros, "HDF5", "h5py"},
      {"HDF5 after 1024 bytes of the user", std::string(1024, 'u').append("\x89HDF\r\n\x1A\n").append(zeros), "HDF5",
       "h5py"},
      {"Keras 3", zip_of("metadata.json") + R"({"keras_version": "3.1.1"})", "Keras 3", "load it with Keras"},
      {"7z", "7z\xBC\xAF\x27\x1C" + zeros, "7z", "unpack"},
      {"RAR", "Rar!\x1A\x07\x01" + zeros, "RAR", "unpack"},
      {"zstd", "\x28\xB5\x2F\xFD" + zeros, "zstd", "zstd -d"},
      {"lz4", "\x04\x22\x4D\x18" + zeros, "lz4", "lz4 -d"},
      {"lz4 before its frames", "\x02\x21\x4C\x18" + zeros, "lz4", "lz4 -d"},
      {"lzma of unknown size", std::string("]\0\0\x80\0", 5) + std::string(8, '\xFF') + "data", "lzma", "joblib"},
      {"lzma of 4 bytes", std::string("]\0\x10\0\0\4\0\0\0\0\0\0\0", 13) + "data", "lzma", "unlzma"},
      {"zlib", "\x78\x9C" + zeros, "zlib", "joblib"},
      {"zlib, as joblib writes it", "\x78\x5E" + zeros, "zlib", "joblib"},
      {"empty zip", "PK\x05\x06" + std::string(18, '\0'), "empty zip", "again"},
      {"PyTorch's preview release", "PYTORCH1" + zeros, "PYTORCH1", "PyTorch"},
      {"ExecuTorch", std::string("\x1C\0\0\0FT01FH01", 12) + zeros, "ExecuTorch", "safetensors"},
      {"Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS", "git lfs pull"},
      {"ONNX of PyTorch",
       std::string("\x08\x08\x12\x07pytorch\x1A\x05"
                   "2.1.0:\x10",
                   20) +
           zeros,
       "ONNX", "initializers"},
      {"ONNX without a version of its producer", std::string("\x08\x07\x12\x0Cskl2onnx_lib:\x10", 18) + zeros, "ONNX",
       "initializers"},
      {"SavedModel", std::string("\x08\x01\x12\x20\x0A\x10", 6) + zeros, "SavedModel", "TensorFlow"},
      {"frozen graph", std::string("\x0A\x17\x0A\x05input\x12\x0BPlaceholder", 22) + zeros, "TensorFlow graph",
       "TensorFlow"},
      {"TensorFlow's index", std::string("\0\0\x06\x08\x01\x1A\x02\x08\x01", 9) + zeros, "TensorFlow checkpoint",
       "TensorFlow"},
  };
  for (const Refused& row : table) {
    CAPTURE(row.what);
    CHECK(recognized(row.file) == &refused_format);
    const Error error = test::thrown_by([&] { return test::read_bytes(refused_format, row.file); });
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK_MESSAGE(error.message().find(row.words) != std::string::npos, error.message());
    CHECK_MESSAGE(error.message().find(row.advice) != std::string::npos, error.message());
  }
}

TEST_CASE("refused: accepts files that only start alike") {
  const std::string files[] = {
      "",
      "lmg",
      std::string("\x08\x08", 2),
      std::string("\x08\x00\x00\x00\x00\x00\x00\x00{}      ", 16),   // safetensors with a header of 8 bytes
      std::string("\x08\x01\x12\x00\x00\x00\x00\x00{\"a\":1}", 15),  // ... and of 1,179,912
      std::string("\x0A\x01\x0A\x01\x00\x00\x00\x00{}", 10),
      std::string("\x08\x08\x12\x04\x01\x02\x03\x04:", 9),  // a producer that is no word
      std::string("\x08\x08\x12\x03"
                  "abc\xFF",
                  8),  // followed by no field of a model
      std::string(64, '\0'),
      "7z",
      zip_of("metadata.json"),  // of another program
  };
  for (const std::string& file : files) {
    CAPTURE(file);
    CHECK_FALSE(refused_format.matches(std::as_bytes(std::span(file)), file.size()));
  }
}

TEST_CASE("refused: no fixture that heft reads is refused by name") {
  const auto folder = test::fixtures("");
  if (!folder) return;
  std::size_t looked = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder)) {
    if (!entry.is_regular_file() || entry.path().string().find("hostile") != std::string::npos) continue;
    const std::string file = test::content_of(entry.path());
    if (entry.path().extension() == ".h5" || entry.path().extension() == ".7z") continue;
    const std::string_view head = std::string_view(file).substr(0, head_bytes);
    CAPTURE(entry.path().string());
    CHECK_FALSE(refused_format.matches(std::as_bytes(std::span(head)), file.size()));
    ++looked;
  }
  CHECK(looked > 100);
}

TEST_CASE("refused: no prefix makes a signature reach past the end") {
  const std::string model = std::string(
      "\x08\x08\x12\x07pytorch\x1A\x05"
      "2.1.0:\x10",
      20);
  CHECK(test::readable_prefixes(refused_format, model) == 0);
  test::flip_every_bit(refused_format, model, model.size());
}
