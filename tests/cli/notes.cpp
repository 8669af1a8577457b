// Notes: each kind of loss has one, with a count and names, on the error stream and in the report; a clean file has
// none.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "heft/element.hpp"
#include "heft/error.hpp"
#include "heft/save.hpp"
#include "support/fixtures.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::CliRun;
using test::heft_command;
using test::packed;
using test::SafetensorsBuilder;
using test::TempFolder;

namespace {

bool has(const std::string& text, std::string_view words) { return text.find(words) != std::string::npos; }

std::string floats_only(const TempFolder& folder) {
  SafetensorsBuilder builder;
  builder.add("w", "F32", {2, 2}, packed<float>({1, 2, 3, 4}));
  builder.add("v", "BF16", {2, 2}, packed<std::uint16_t>({0x3F80, 0xC000, 0, 0}));
  return folder.write("floats.safetensors", builder.build()).string();
}

std::string with_integers(const TempFolder& folder) {
  SafetensorsBuilder builder;
  builder.add("w", "F32", {2}, packed<float>({1, 2}));
  builder.add("ids", "I64", {1}, packed<std::int64_t>({7}));
  builder.add("mask", "BOOL", {1}, std::string("\x01", 1));
  builder.add("table", "C64", {1}, packed<float>({1, 2}));
  return folder.write("mixed.safetensors", builder.build()).string();
}

// A weight of one byte an element, and `scale` beside it.
std::string scaled(const TempFolder& folder, std::string_view weight, std::string_view scale,
                   std::string_view dtype = "F8_E4M3") {
  SafetensorsBuilder builder;
  builder.add(weight, dtype, {4}, "\x38\x40\xB8\x7E");
  builder.add(scale, "F32", {1}, packed<float>({0.125F}));
  return folder.write("scaled.safetensors", builder.build()).string();
}

std::string training_checkpoint(const TempFolder& folder) {
  test::TorchBuilder builder;
  builder.tensor("w", "FloatStorage", {2}, packed<float>({1, 2}));
  builder.value("epoch", test::pickled_int(3));
  builder.value("lr", test::pickled_real(0.1));
  builder.value("name", test::pickled_text("run"));
  builder.value("seed", test::pickled_int(1));
  return folder.write("model.pt", builder.build()).string();
}

}  // namespace

TEST_CASE("notes: convert leaves out values other than tensors, and counts them by name") {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.safetensors").string();
  const CliRun run = heft_command({"convert", training_checkpoint(folder), out});
  CHECK(run.status == 0);
  CHECK(run.err == "note: 4 values that are no tensors are left out: 'epoch', 'lr', 'name' and 1 more\n");
  const CliRun json = heft_command({"convert", "--json", training_checkpoint(folder), out});
  CHECK(has(json.out, R"("notes":["4 values that are no tensors are left out: 'epoch', 'lr', 'name' and 1 more"])"));
  CHECK(has(json.err, "note: 4 values"));
}

TEST_CASE("notes: saving a whole checkpoint counts the values that are left out") {
  const TempFolder folder;
  const Checkpoint checkpoint = open(training_checkpoint(folder));
  const std::vector<std::string> notes = save(checkpoint, folder.path() / "out.safetensors").notes;
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].starts_with("4 values that are no tensors"));
}

TEST_CASE("notes: load and convert count tensors that --dtype does not convert, by name") {
  const TempFolder folder;
  const std::string path = with_integers(folder);
  const std::string_view note =
      "3 tensors are not converted to bf16, which is for floats only: 'ids' (i64), 'mask' (bool), 'table' (c64)";
  const CliRun load = heft_command({"load", path, "--dtype", "bf16", "--json"});
  CHECK(load.status == 0);
  CHECK(has(load.err, note));
  CHECK(has(load.out, note));
  const CliRun convert =
      heft_command({"convert", path, (folder.path() / "out.safetensors").string(), "--dtype", "bf16"});
  CHECK(convert.status == 0);
  CHECK(has(convert.err, note));
  CHECK(!has(heft_command({"load", path}).err, "note"));
}

TEST_CASE("notes: a weight converted without the scale beside it is reported, for every name of scales") {
  const TempFolder folder;
  struct Names {
    const char* weight;
    const char* scale;
  };
  for (const auto& [weight, scale] :
       {Names{"l.weight", "l.weight_scale"}, Names{"l.weight", "l.weight_scale_inv"}, Names{"l.weight", "l.scale"},
        Names{"l.weight", "l.scale_weight"}, Names{"l.weight", "l.weight.scale"},
        Names{"l.weight.qdata", "l.weight.scale"}, Names{"l.weight._data", "l.weight._scale"},
        Names{"l._weight_qdata", "l._weight_scale"}, Names{"weight", "weight_scale"},
        Names{"e.w_blocks", "e.w_scales"}}) {
    CAPTURE(weight);
    CAPTURE(scale);
    const std::string path = scaled(folder, weight, scale);
    const std::string out = (folder.path() / "out.safetensors").string();
    const std::string words =
        "1 tensor is converted to bf16 without the scale that lies beside it, so the values are not the model's: '" +
        std::string(weight) + "' (beside it '" + scale + "')";
    const CliRun convert = heft_command({"convert", path, out, "--dtype", "bf16"});
    CHECK(convert.status == 0);
    CHECK(has(convert.err, words));
    CHECK(has(heft_command({"load", path, "--dtype", "bf16", "--json"}).out, words));
    CHECK(!has(heft_command({"convert", path, out}).err, "note"));  // as it is stored: nothing is lost
    CHECK(!has(heft_command({"convert", path, out, "--dtype", "f8_e4m3", "--exclude", scale}).err, "note"));
    CHECK(has(heft_command({"convert", path, out, "--dtype", "bf16", "--exclude", scale}).err, words));
  }
}

TEST_CASE("notes: a scale beside a weight of 16 bits is a parameter of the model") {
  const TempFolder folder;
  SafetensorsBuilder builder;
  builder.add("l.weight", "BF16", {2}, packed<std::uint16_t>({0, 0}));
  builder.add("l.scale", "F32", {1}, packed<float>({2}));
  const std::string path = folder.write("norm.safetensors", builder.build()).string();
  CHECK(heft_command({"load", path, "--dtype", "f32"}).err.empty());
}

TEST_CASE("notes: a shard along a dim that some tensors lack loads those whole, with a note") {
  const TempFolder folder;
  SafetensorsBuilder builder;
  builder.add("w", "F32", {2, 2}, packed<float>({1, 2, 3, 4}));
  builder.add("b", "F32", {2}, packed<float>({1, 2}));
  const std::string path = folder.write("m.safetensors", builder.build()).string();
  const CliRun run = heft_command({"load", path, "--shard", "1/2", "--dim", "1"});
  CHECK(run.status == 0);
  CHECK(run.err == "note: 1 tensor is loaded whole, without a dim 1: 'b'\n");
  CHECK(heft_command({"load", path, "--shard", "1/2"}).err.empty());
}

TEST_CASE("notes: options that have no effect are errors") {
  const TempFolder folder;
  const std::string path = floats_only(folder);
  const auto refused = [](std::initializer_list<std::string> words, std::string_view why) {
    const CliRun run = heft_command(words);
    CHECK(run.status == 2);
    CHECK_MESSAGE(has(run.err, why), run.err);
  };
  refused({"load", path, "--dim", "1"}, "--shard");
  refused({"load", path, "--shard", "0/2", "--dim", "2"}, "--shard cuts dim 2, which none of the 2 tensors has");
  refused({"ls", path, "--top-level-key", "model"},
          "top_level_key 'model': expected a PyTorch file, this one is safetensors");
  refused({"convert", path, (folder.path() / "o.npz").string(), "--select", "w", "--shard-size", "1GB"},
          "safetensors only");
  refused({"load", path, "--exclude", "absent*"}, "no tensor matches 'absent*'");
  refused({"load", path, "--select", "absent*"}, "no tensor matches 'absent*'");
}

TEST_CASE("notes: an option that a file or command cannot use is an error, in every command that takes it") {
  const TempFolder folder;
  const std::string safetensors = floats_only(folder);
  const std::string torch = training_checkpoint(folder);
  const std::string out = (folder.path() / "out.safetensors").string();
  const std::vector<std::vector<std::string>> commands = {{"ls"},     {"tree"}, {"show", "w"},   {"hash"},
                                                          {"verify"}, {"load"}, {"convert", out}};
  struct Misuse {
    std::vector<std::string> option;
    bool of_torch;  // the file that cannot use it
    std::string why;
  };
  const Misuse table[] = {
      {{"--top-level-key", "model"}, false, "top_level_key 'model': expected a PyTorch file, this one is safetensors"},
      {{"--top-level-key", "absent"}, true, "no top_level_key 'absent'; there are"},
      {{"--strict-globals"}, false, "strict_globals: expected a PyTorch file or a pickle, this one is safetensors"},
      {{"--as", "bf16"}, false, "raw items as bf16: expected a file of NumPy, this is safetensors"},
      {{"--as", "bf16"}, true, "raw items as bf16: expected a file of NumPy, this is torch"},
  };
  for (const Misuse& misuse : table) {
    const std::string& path = misuse.of_torch ? torch : safetensors;
    for (const std::vector<std::string>& command : commands) {
      std::vector<std::string> words = {command[0], path};
      words.insert(words.end(), command.begin() + 1, command.end());
      words.insert(words.end(), misuse.option.begin(), misuse.option.end());
      const CliRun run = heft_command(words);
      CAPTURE(command[0]);
      CAPTURE(misuse.option[0]);
      CHECK(run.status == 2);
      CHECK_MESSAGE(has(run.err, misuse.why), run.err);
    }
    std::vector<std::string> words = {"diff", path, path};
    words.insert(words.end(), misuse.option.begin(), misuse.option.end());
    CHECK_MESSAGE(has(heft_command(words).err, misuse.why), misuse.option[0]);
  }
  CHECK(!std::filesystem::exists(out));
  CHECK(heft_command({"ls", torch, "--strict-globals"}).status == 0);
}

TEST_CASE("notes: options that contradict each other or the command are errors") {
  const TempFolder folder;
  const std::string path = floats_only(folder);
  const std::string out = (folder.path() / "out").string();
  const std::pair<std::vector<std::string>, std::string> table[] = {
      {{"load", path, "--io", "map", "--no-mmap"}, "--io map contradicts --no-mmap"},
      {{"hash", path, "--io", "map", "--no-mmap"}, "--io map contradicts --no-mmap"},
      {{"verify", path, "--io", "map", "--no-mmap"}, "--io map contradicts --no-mmap"},
      {{"convert", path, out + ".npz", "--select", "w", "--io", "map", "--no-mmap"}, "--io map contradicts --no-mmap"},
      {{"ls", path, "--notes"}, "--json"},
      {{"tree", path, "--notes"}, "--json"},
      {{"load", path, "--dim", "0"}, "--shard"},
      {{"load", path, "--dtype", "f99"}, "no dtype is called 'f99'"},
      {{"convert", path, out + ".npz", "--select", "w", "--shard-size", "1GB"}, "safetensors only"},
      {{"convert", path, out + ".gguf", "--shard-size", "1GB"}, "safetensors only"},
      {{"show", path, "w", "--slice", "0,0,0"}, "expected at most 2 ranges"},
      {{"hash", path, "absent"}, "absent"},
      {{"ls", path, "--select", "absent"}, "no tensor matches 'absent'"},
      {{"tree", path, "--select", "w"}, "--select"},
      {{"hash", path, "--json"}, "--json"},
      {{"diff", path, path, "--io", "read"}, "--io"},
  };
  for (const auto& [words, why] : table) {
    const CliRun run = heft_command(words);
    CAPTURE(words[0]);
    CHECK(run.status == 2);
    CHECK_MESSAGE(has(run.err, why), run.err);
  }
  CHECK(heft_command({"load", path, "--io", "read", "--no-mmap"}).status == 0);
}

TEST_CASE("notes: JSON contains them if it is one object, else in a last line on --notes") {
  const TempFolder folder;
  const std::string clean = floats_only(folder);
  const std::string object = test::pickle::object("my.module", "Packed", test::pickle::dict({}));
  const std::string noted =
      folder.write("m.pt", test::pickle::torch_file(test::pickle::dict({test::pickle::text("fc"), object}))).string();
  const auto last_line = [](const std::string& out) { return out.substr(out.rfind('\n', out.size() - 2) + 1); };
  CHECK(!has(heft_command({"show", clean, "w", "--json"}).out, "notes"));
  SafetensorsBuilder piece;
  piece.add("w", "F32", {1}, packed<float>({1})).metadata("DCP_SHARDING_INFO", R"({"w": {"saved_offsets": [2]}})");
  const std::string part = folder.write("part.safetensors", piece.build()).string();
  CHECK(has(heft_command({"show", part, "w", "--json"}).out,
            ",\"notes\":[\"this file has one rank's pieces of 1 tensor ("));
  for (const char* command : {"ls", "tree"}) {
    CAPTURE(command);
    CHECK(last_line(heft_command({command, clean, "--json", "--notes"}).out) == "{\"notes\":[]}\n");
    const std::string out = heft_command({command, noted, "--json", "--notes"}).out;
    CHECK(has(last_line(out), "{\"notes\":[\"no tensors, but 1 other value"));
    CHECK(!has(heft_command({command, noted, "--json"}).out, "notes"));
  }
}

TEST_CASE("notes: a rule of --remap that renames nothing is noted, unless it renames the result of another") {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.safetensors").string();
  const CliRun run = heft_command(
      {"convert", floats_only(folder), out, "--remap", "^w$=>x", "--remap", "^x$=>y", "--remap", "^w$=>z"});
  CHECK(run.status == 0);
  CHECK(run.err == "note: --remap '^w$=>z' renames nothing\n");
  CHECK(open(out).find("y"));
}

TEST_CASE("notes: a top-level key that a PyTorch file has is no error") {
  const TempFolder folder;
  const std::string path =
      folder
          .write("m.pt", test::pickle::torch_file(
                             test::pickle::dict({test::pickle::text("model"),
                                                 test::pickle::dict({test::pickle::text("w"),
                                                                     test::pickle::tensor("0", 1, 0, {1}, {1})})}),
                             {"abcd"}))
          .string();
  CHECK(heft_command({"ls", path, "--top-level-key", "model"}).status == 0);
}

TEST_CASE("notes: a module with weights in opaque objects lists no tensors, and a note says so") {
  const TempFolder folder;
  const std::string packed_module =
      test::pickle::object("torch.ao.nn.quantized", "PackedParams",
                           test::pickle::dict({test::pickle::text("bits"), test::pickle::integer(8)}));
  const std::string path =
      folder.write("m.pt", test::pickle::torch_file(test::pickle::dict({test::pickle::text("fc"), packed_module})))
          .string();
  const Checkpoint checkpoint = open(path);
  const std::vector<std::string>& notes = checkpoint.notes();
  REQUIRE(notes.size() == 1);
  CHECK(has(notes[0], "no tensors, but"));
  CHECK(has(heft_command({"ls", path}).err, "note: no tensors, but"));
}

TEST_CASE("notes: no command has a note on a clean file") {
  const TempFolder folder;
  const std::string path = floats_only(folder);
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"ls"}, {"ls", "--json"}, {"tree"}, {"show", "w"}, {"hash"}, {"verify"}, {"load", "--dtype", "f16"}}) {
    CAPTURE(words[0]);
    const CliRun run = words.size() == 1    ? heft_command({words[0], path})
                       : words[0] == "show" ? heft_command({"show", path, words[1]})
                       : words.size() == 2  ? heft_command({words[0], words[1], path})
                                            : heft_command({words[0], words[1], words[2], path});
    CHECK(run.status == 0);
    CHECK(run.err.empty());
    CHECK(!has(run.out, "note:"));
  }
  CHECK(heft_command({"diff", path, path}).err.empty());
  const CliRun convert =
      heft_command({"convert", "--json", path, (folder.path() / "out.safetensors").string(), "--dtype", "f32"});
  CHECK(convert.err.empty());
  CHECK(has(convert.out, R"("notes":[])"));
}

TEST_CASE("convert: --exclude leaves out what matches, after --select") {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.safetensors").string();
  CHECK(heft_command({"convert", with_integers(folder), out, "--exclude", "mask", "--exclude", "t*"}).status == 0);
  CHECK(open(out).tensors().size() == 2);
  CHECK(heft_command({"convert", with_integers(folder), out, "--select", "*s*", "--exclude", "mask"}).status == 0);
  CHECK(open(out).tensors().size() == 1);
  CHECK(open(out).find("ids"));
}

TEST_CASE("convert: --dtype c128 converts complex numbers and leaves floats") {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.npz").string();
  const CliRun run = heft_command({"convert", with_integers(folder), out, "--dtype", "c128"});
  CHECK(run.status == 0);
  CHECK(has(
      run.err,
      "3 tensors are not converted to c128, which is for complex numbers only: 'w' (f32), 'ids' (i64), 'mask' (bool)"));
  CHECK(open(out).tensor("table").dtype() == DType::c128);
}

TEST_CASE("convert: advice in errors works when followed") {
  const TempFolder folder;
  SafetensorsBuilder builder;
  builder.add("w", "F32", {2}, packed<float>({1, 2}));
  builder.add("h.0.bias", "U8", {1}, "x");
  builder.add("h.1.bias", "U8", {1}, "y");
  const std::string integers = folder.write("integers.safetensors", builder.build()).string();
  const std::string gguf = (folder.path() / "out.gguf").string();
  for (const bool converting : {false, true}) {
    const CliRun run = converting ? heft_command({"convert", integers, gguf, "--dtype", "f32"})
                                  : heft_command({"convert", integers, gguf});
    CHECK(run.status == 2);
    CHECK(has(run.err,
              "integers.safetensors: tensor 'h.0.bias': GGUF has no dtype for u8 (2 tensors); --dtype changes floats, "
              "quantized blocks and complex "
              "numbers only, so leave it out with --exclude 'h.0.bias'"));
    CHECK(!has(run.err, "f32, say"));
  }
  CHECK(heft_command({"convert", integers, gguf, "--exclude", "h.?.bias"}).status == 0);

  test::TorchBuilder wide;
  wide.tensor("c", "ComplexDoubleStorage", {1}, packed<double>({1, 2}));
  const std::string complex = folder.write("complex.pt", wide.build()).string();
  const std::string out = (folder.path() / "out.safetensors").string();
  const CliRun refused = heft_command({"convert", complex, out, "--dtype", "f32"});
  CHECK(refused.status == 2);
  CHECK(has(refused.err,
            "safetensors has no dtype for c128; convert it with --dtype c64, or leave it out with --exclude 'c'"));
  CHECK(heft_command({"convert", complex, out, "--dtype", "c64"}).status == 0);
  CHECK(open(out).tensor("c").dtype() == DType::c64);
}

TEST_CASE("save: a dtype that a format lacks is refused with the dtypes that heft could write") {
  const TempFolder folder;
  SafetensorsBuilder builder;
  builder.add("m", "U8", {1}, "x");
  builder.add("h", "BF16", {1}, "xy");
  const Checkpoint checkpoint = open(folder.write("m.safetensors", builder.build()));
  const std::vector<SaveItem> integers = {checkpoint.tensor("m")};
  const Error gguf = test::thrown_by([&] { return save(integers, folder.path() / "o.gguf"); });
  CHECK(gguf.message() == "GGUF has no dtype for u8; convert it to i16, i32 or i64");
  CHECK(gguf.tensor() == "m");
  CHECK(gguf.path().ends_with("m.safetensors"));
  CHECK_NOTHROW(save(std::vector<SaveItem>{{checkpoint.tensor("m"), DType::i32}}, folder.path() / "o.gguf"));
  const Error npz =
      test::thrown_by([&] { return save(std::vector<SaveItem>{checkpoint.tensor("h")}, folder.path() / "o.npz"); });
  CHECK(npz.message() == "npz has no dtype for bf16; convert it to f32, f16 or f64");
}

TEST_CASE("notes: reported cases of silent loss and of wrong advice") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  const TempFolder scratch;
  const auto converted = [&](const char* source, const char* to, const char* dtype) {
    const std::string out = (scratch.path() / to).string();
    return dtype == nullptr ? heft_command({"convert", (*folder / source).string(), out})
                            : heft_command({"convert", (*folder / source).string(), out, "--dtype", dtype});
  };

  const CliRun drops = converted("convert-drops/model.pt", "drops.safetensors", nullptr);
  CHECK(drops.status == 0);
  CHECK(has(drops.err, "values that are no tensors are left out"));
  CHECK(open(scratch.path() / "drops.safetensors").find("state_dict.w").has_value());

  // The least acceptable outcome: scales are not applied by this version, which says so.
  const CliRun scale = converted("fp8-scale/model.safetensors", "scale.safetensors", "bf16");
  CHECK(scale.status == 0);
  CHECK(has(scale.err, "'l.weight' (beside it 'l.weight_scale')"));
  CHECK(open(scratch.path() / "scale.safetensors").tensor("l.weight").read<bf16>(1, 1) == bf16(448.0F));

  const CliRun gguf = converted("gguf-from-u8/model.bin", "u8.gguf", "f32");
  CHECK(gguf.status == 2);
  CHECK(has(gguf.err, "GGUF has no dtype for u8"));
  CHECK(has(gguf.err, "--dtype changes floats"));
  CHECK(has(gguf.err, "--exclude"));
  CHECK(!has(gguf.err, "f32, say"));

  const CliRun npz = converted("npz-bf16/model.npz", "bf16.safetensors", "f32");
  CHECK(npz.status == 2);
  CHECK(has(npz.err, "'<V2'"));
  CHECK(!has(npz.err, "f32, say"));
}
