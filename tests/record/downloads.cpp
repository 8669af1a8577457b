// Other data in the place of weights: pages, messages, zeros, archives, halves of files.
#include <string>
#include <tuple>

#include "record/model_folder.hpp"
#include "support/gguf_builder.hpp"
#include "support/tar_builder.hpp"
#include "support/torch_builder.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using test::check_words;
using test::error_of;
using test::model_of;
using test::TempFolder;

namespace {

struct Stranger {
  const char* name;
  std::string content;
  ErrorCode code;
  std::vector<std::string_view> words;
};

void check_strangers(const std::vector<Stranger>& strangers) {
  const TempFolder folder;
  for (const Stranger& one : strangers) {
    CAPTURE(one.name);
    const Error error = error_of(folder.write(one.name, one.content));
    CHECK(error.code() == one.code);
    check_words(error.what(), one.words);
    const std::string text = error.what();
    CHECK(text.find('\n') == std::string::npos);
    CHECK(text.size() < 600);
    CHECK(text.find("index of a sharded") == std::string::npos);
  }
}

std::string tar_of(const std::string& name, char type = '0') { return test::tar_file({{name, "", type}}); }

std::string gzip_of(const std::string& content) {
  return std::string("\x1F\x8B\x08\0\0\0\0\0\0\x03", 10) + test::deflated(content) +
         test::little(test::zip_crc32(content), 4) + test::little(content.size(), 4);
}

}  // namespace

TEST_CASE("downloads: text in the place of weights is described, and its first line quoted") {
  constexpr auto unrecognized = ErrorCode::unrecognized;
  check_strangers({
      {"model.safetensors",
       "<!DOCTYPE html>\n<html><head><title>Sign in to continue</title></head></html>\n",
       unrecognized,
       {"HTML page", "'Sign in to continue'", "download"}},
      {"page.pt",
       "  \n<HTML><TITLE >\n Quota\x1b[2J exceeded </TITLE>",
       unrecognized,
       {"HTML page", "Quota\\x1b[2J exceeded"}},
      {"untitled.gguf", "<html>\n<body>nothing</body>", unrecognized, {"HTML page", "'<html>'"}},
      {"error.bin",
       "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
       unrecognized,
       {"XML", "AccessDenied"}},
      {"denied.npz", "<Error><Code>NoSuchKey</Code></Error>", unrecognized, {"XML", "NoSuchKey"}},
      {"error.safetensors",
       R"({"error":"Repository not found"})",
       unrecognized,
       {"JSON", R"({"error":"Repository not found"})"}},
      {"pretty.safetensors", "{\n  \"error\": \"gone\"\n}", unrecognized, {"JSON", "gone"}},
      {"list.safetensors", "[1, 2]", unrecognized, {"JSON", "[1, 2]"}},
      {"entry.bin", "Entry not found", unrecognized, {"text", "'Entry not found'"}},
      {"cut.safetensors", R"({"error":"Repos)", unrecognized, {"JSON", "Repos"}},
      {"utf8.pt", "\xEF\xBB\xBFZugriff verweigert \xC3\xBC\n", unrecognized, {"text", "Zugriff verweigert"}},
      {"long.bin", std::string(10'000, 'x'), unrecognized, {"text", "xxx..."}},
      {"empty.safetensors", "", unrecognized, {"empty", "download"}},
      {"zeros.safetensors", std::string(10'000, '\0'), unrecognized, {"4096 of 10000 bytes are zero", "download"}},
      {"noise.bin", std::string("\x01\x02\x03\xFF\xFE", 5), unrecognized, {"01 02 03 ff fe"}},
      {"pointer.bin",
       "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
       ErrorCode::unsupported,
       {"Git LFS", "git lfs pull"}},
  });
}

TEST_CASE("downloads: an index that is cut short, or other JSON, is not called weights") {
  const TempFolder folder;
  check_words(error_of(folder.write("config.json", "{}")).what(), {"weight_map"});
  check_words(error_of(folder.write("model.safetensors.index.json", R"({"weight_map":{"a)")).what(), {"not closed"});
}

TEST_CASE("downloads: truncated files are errors that advise to download again") {
  const std::string torch = test::TorchBuilder().tensor("w", "FloatStorage", {64}, std::string(256, 'x')).build();
  test::ZipBuilder npz;
  npz.add("w.npy", std::string("\x93NUMPY\x01\0", 8));
  const std::string gguf = test::GgufBuilder().tensor("w", {64}, 0, std::string(256, 'x')).build();
  const std::string safetensors = test::SafetensorsBuilder().add("w", "F32", {64}, std::string(256, 'x')).build();
  std::string npy = "{'descr': '<f4', 'fortran_order': False, 'shape': (64,), }";
  npy.resize(117, ' ');
  npy = std::string("\x93NUMPY\x01\0", 8) + test::little(118, 2) + npy + "\n" + std::string(256, 'x');
  constexpr auto corrupt = ErrorCode::corrupt;
  check_strangers({
      {"half.pt", torch.substr(0, torch.size() / 2), corrupt, {"zip", "end record", "incomplete"}},
      {"half.npz", npz.build().substr(0, 80), corrupt, {"zip", "end record", "incomplete"}},
      {"half.gguf", gguf.substr(0, gguf.size() - 100), corrupt, {"download is incomplete"}},
      {"head.gguf", gguf.substr(0, 40), corrupt, {"incomplete download"}},
      {"half.safetensors",
       safetensors.substr(0, safetensors.size() - 100),
       corrupt,
       {"header declares", "download is incomplete"}},
      {"head.safetensors",
       safetensors.substr(0, 30),
       corrupt,
       {"header declares", "the file has 22", "download is incomplete"}},
      {"half.npy", npy.substr(0, npy.size() - 100), corrupt, {"expected 256 bytes", "156"}},
  });
}

TEST_CASE("downloads: archives of models are refused with their contents and advice") {
  test::ZipBuilder one;
  one.add("model.safetensors", model_of({"w"}));
  test::ZipBuilder many;
  many.add("model/config.json", "{}");
  for (int i = 0; i < 9; ++i) many.add("model/part" + std::to_string(i) + ".safetensors", "x");
  const std::string zeros(64, '\0');
  constexpr auto unsupported = ErrorCode::unsupported;
  check_strangers({
      {"model.zip", one.build(), unsupported, {"zip archive", "'model.safetensors'", "unpack"}},
      {"models.zip", many.build(), unsupported, {"zip archive", "'model/config.json'", "7 more", "unpack"}},
      {"model.tar",
       tar_of("model/pytorch_model.bin"),
       unsupported,
       {"tar archive", "'model/pytorch_model.bin'", "unpack"}},
      {"dot.tar", tar_of("./", '5').substr(0, 512) + tar_of("./model.bin"), unsupported, {"'model.bin'", "unpack"}},
      {"folder.tar", tar_of("model/", '5'), unsupported, {"tar archive", "'model/'", "unpack"}},
      {"model.tar.gz",
       gzip_of(tar_of("model/pytorch_model.bin")),
       unsupported,
       {"tar archive", "gzip", "'model/pytorch_model.bin'", "unpack"}},
      {"model.safetensors.gz", gzip_of(model_of({"w"})), unsupported, {"safetensors", "gzip", "unpack"}},
      {"notes.gz", gzip_of("hello"), unsupported, {"gzip", "unpack"}},
      {"model.7z", "7z\xBC\xAF\x27\x1C" + zeros, unsupported, {"7z", "unpack"}},
      {"model.rar", "Rar!\x1A\x07\x01" + zeros, unsupported, {"RAR", "unpack"}},
      {"model.xz",
       std::string("\xFD"
                   "7zXZ\0",
                   6) +
           zeros,
       unsupported,
       {"xz", "unpack"}},
      {"model.bz2", "BZh91AY&SY" + zeros, unsupported, {"bzip2", "unpack"}},
      {"model.zst", "\x28\xB5\x2F\xFD" + zeros, unsupported, {"zstd", "unpack"}},
      {"model.lz4", "\x04\x22\x4D\x18" + zeros, unsupported, {"lz4", "unpack"}},
      {"gzipped.joblib",
       gzip_of("\x80\x04\x8c\x13joblib.numpy_pickle\x94" + zeros),
       unsupported,
       {"a file of joblib compressed by gzip", "load it with joblib"}},
      {"model.joblib", "\x78\x9C" + zeros, unsupported, {"zlib", "joblib"}},
  });
}
