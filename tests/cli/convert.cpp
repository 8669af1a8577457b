#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::packed;
using heft::test::SafetensorsBuilder;
using heft::test::TempFolder;

namespace {

namespace fs = std::filesystem;

std::string small_model(const TempFolder& folder) {
  SafetensorsBuilder builder;
  builder.add("layers.0.weight", "F32", {2, 3}, packed<float>({1, 2, 3, 4, 5, -6}));
  builder.add("layers.0.bias", "F32", {2}, packed<float>({0.5F, 0}));
  builder.add("count", "I64", {}, packed<std::int64_t>({-7}));
  builder.metadata("format", "pt");
  return folder.write("model.safetensors", builder.build());
}

}  // namespace

TEST_CASE("convert: writes checkpoints that are equal for diff, and keeps metadata") {
  const TempFolder folder;
  const std::string source = small_model(folder);
  const std::string copy = (folder.path() / "copy.safetensors").string();
  const CliRun run = heft_command({"convert", source, copy});
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  CHECK(run.out.find("3 tensors") != std::string::npos);
  CHECK(heft_command({"diff", source, copy}).status == 0);
  CHECK(heft::open(copy).metadata()["format"].text() == "pt");
}

TEST_CASE("convert: --dtype converts floats, --select chooses and --remap renames") {
  const TempFolder folder;
  const std::string source = small_model(folder);
  const std::string path = (folder.path() / "new.safetensors").string();
  CHECK(heft_command({"convert", source, path, "--dtype", "bf16", "--remap", "^layers\\.(\\d+)=>blk.$1", "--remap",
                      "weight$=>w", "--select", "blk.*", "--select", "count"})
            .status == 0);
  const heft::Checkpoint made = heft::open(path);
  CHECK(made.tensors().size() == 3);
  CHECK(made.tensor("blk.0.w").dtype() == heft::DType::bf16);
  CHECK(made.tensor("blk.0.w").read<heft::bf16>(1, 2) == heft::bf16(-6.0F));
  CHECK(made.tensor("blk.0.bias").dtype() == heft::DType::bf16);
  CHECK(made.tensor("count").dtype() == heft::DType::i64);
}

TEST_CASE("convert: --shard-size makes shards that open as one, and can replace the source") {
  const TempFolder folder;
  const std::string source = small_model(folder);
  const std::string before = heft_command({"hash", source}).out;
  const CliRun run = heft_command({"convert", source, source, "--shard-size", "24", "--json"});
  CHECK(run.status == 0);
  CHECK(run.out.find("\"removed\":[\"") != std::string::npos);
  CHECK(run.out.find("model.safetensors.index.json") != std::string::npos);
  CHECK_FALSE(fs::exists(source));
  CHECK(heft_command({"hash", folder.path().string()}).out == before);
}

TEST_CASE("convert: an impossible conversion is one line on the error stream and leaves no file") {
  const TempFolder folder;
  const std::string source = small_model(folder);
  const std::string path = (folder.path() / "new.safetensors").string();
  const auto fails = [&](std::initializer_list<std::string> words, const char* expected) {
    const CliRun run = heft_command(words);
    CAPTURE(run.err);
    CHECK(run.status == 2);
    CHECK(run.out.empty());
    CHECK(run.err.find(expected) != std::string::npos);
    CHECK_FALSE(fs::exists(path));
  };
  fails({"convert", source, path, "--dtype", "f31"}, "no dtype is called");
  fails({"convert", source, path, "--dtype", "i32"}, "f32");
  fails({"convert", source, path, "--remap", "a"}, "PATTERN=>REPLACEMENT");
  fails({"convert", source, path, "--remap", "(=>b"}, "(");
  fails({"convert", source, path, "--remap", ".*=>same"}, "same");
  fails({"convert", source, path, "--select", "nothing*"}, "nothing");
  fails({"convert", source, path, "--shard-size", "many"}, "many");
  fails({"convert", source, (folder.path() / "new.bin").string()}, ".safetensors");
  fails({"convert", source, (folder.path() / "new.npz").string(), "--shard-size", "24"}, "safetensors only");
  fails({"convert", source, (folder.path() / "new.gguf").string(), "--shard-size", "24"}, "safetensors only");
  fails({"convert", source, (folder.path() / "new.npz").string(), "--dtype", "bf16"}, "npz has no dtype for bf16");
  CHECK(fs::directory_iterator(folder.path()) != fs::directory_iterator());
  for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.path() == source);
}

TEST_CASE("convert: the destination's ending selects the format; a folder or an index selects safetensors") {
  const TempFolder folder;
  const std::string source = small_model(folder);
  for (const char* name : {"copy.npz", "copy.gguf", "copy.safetensors.index.json"}) {
    CAPTURE(name);
    const std::string copy = (folder.path() / name).string();
    const CliRun run = heft_command({"convert", source, copy});
    CHECK(run.status == 0);
    CHECK(heft_command({"diff", source, copy}).status == 0);
  }
  CHECK(heft::open(folder.path() / "copy.gguf").metadata()["format"].text() == "pt");
  CHECK(heft_command({"convert", source, (folder.path() / "copy.npz").string()}).err.find("npz has none") !=
        std::string::npos);
  const TempFolder other;
  CHECK(heft_command({"convert", source, other.path().string()}).status == 0);
  CHECK(fs::exists(other.path() / "model.safetensors"));
}

TEST_CASE("formats: lists the formats that are written") {
  const std::string out = heft_command({"formats"}).out;
  for (const char* words :
       {"stored members, npy version 1.0", "version 3: plain types converted", "one file or shards with an index"})
    CHECK(out.find(words) != std::string::npos);
}
