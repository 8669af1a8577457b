#include <cmath>
#include <fstream>
#include <limits>

#include <doctest/doctest.h>

#include "cli_run.hpp"
#include "heft/version.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::packed;
using heft::test::SafetensorsBuilder;
using heft::test::TempFolder;

namespace {

std::string small_model(const TempFolder& folder, const std::string& name = "model.safetensors") {
  SafetensorsBuilder builder;
  builder.add("layers.0.weight", "F32", {2, 3}, packed<float>({1, 2, 3, 4, 5, -6}));
  builder.add("layers.1.weight", "F32", {2, 3}, packed<float>({0.5F, 0, 0, 0, 0, 1}));
  builder.add("count", "I64", {}, packed<std::int64_t>({-7}));
  builder.add("mask", "BOOL", {3}, std::string("\x01\x00\x02", 3));
  builder.add("half", "BF16", {2}, packed<std::uint16_t>({0x3F80, 0xC000}));
  builder.metadata("format", "pt");
  return folder.write(name, builder.build());
}

std::string damaged_model(const TempFolder& folder) {
  SafetensorsBuilder builder;
  builder.add("w", "F32", {4}, packed<float>({1, std::nanf(""), std::numeric_limits<float>::infinity(), 2}));
  return folder.write("damaged.safetensors", builder.build());
}

}  // namespace

TEST_CASE("ls: prints one JSON object per line, in file order, with offsets absolute in the shard") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun run = heft_command({"ls", path, "--json"});
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  std::istringstream lines(run.out);
  std::string line;
  REQUIRE(std::getline(lines, line));
  const std::string content = heft::test::content_of(path);
  const std::uint64_t data = 8 + static_cast<unsigned char>(content[0]) + 256u * static_cast<unsigned char>(content[1]);
  CHECK(line ==
        R"({"name":"layers.0.weight","dtype":"f32","shape":[2,3],"bytes":24,"shard":"model.safetensors","offset":)" +
            std::to_string(data) + "}");
  std::size_t count = 1;
  while (std::getline(lines, line)) ++count;
  CHECK(count == 5);
  CHECK(run.out.find(R"("name":"count","dtype":"i64","shape":[],"bytes":8)") != std::string::npos);
  CHECK(run.out.find(R"("dtype":"bool","shape":[3])") != std::string::npos);
}

TEST_CASE("ls: text has a line per tensor and totals by dtype, and fits a terminal") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun wide = heft_command({"ls", path});
  CHECK(wide.out.find("layers.0.weight  f32   [2, 3]") != std::string::npos);
  CHECK(wide.out.find("5 tensors") != std::string::npos);
  const CliRun narrow = heft_command({"ls", path, "--select", "layers.*"}, 40);
  std::istringstream lines(narrow.out);
  std::string line;
  while (std::getline(lines, line) && !line.empty()) CHECK(line.size() <= 40);
  CHECK(narrow.out.find("count") == std::string::npos);
}

TEST_CASE("tree: nested objects and arrays, a tensor is an object with $tensor") {
  const TempFolder folder;
  const CliRun run = heft_command({"tree", small_model(folder), "--json"});
  CHECK(run.status == 0);
  CHECK(
      run.out ==
      R"({"layers":[{"weight":{"$tensor":{"dtype":"f32","shape":[2,3]}}},{"weight":{"$tensor":{"dtype":"f32","shape":[2,3]}}}],)"
      R"("count":{"$tensor":{"dtype":"i64","shape":[]}},"mask":{"$tensor":{"dtype":"bool","shape":[3]}},"half":{"$tensor":{"dtype":"bf16","shape":[2]}}})"
      "\n");
}

TEST_CASE("tree: text shows sizes of subtrees, down to a depth") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun run = heft_command({"tree", path, "--depth", "1"});
  CHECK(run.out.find("layers: list, 2 tensors, 48 B") != std::string::npos);
  CHECK(run.out.find("weight") == std::string::npos);
  CHECK(heft_command({"tree", path}).out.find("    0: map, 1 tensor, 24 B") != std::string::npos);
}

TEST_CASE("show: values in row-major order with their statistics") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  CHECK(
      heft_command({"show", path, "layers.0.weight", "--json"}).out ==
      R"({"name":"layers.0.weight","dtype":"f32","shape":[2,3],"values":[1.0,2.0,3.0,4.0,5.0,-6.0],"min":-6.0,"max":5.0,"mean":1.5,"nan":0,"inf":0})"
      "\n");
  CHECK(heft_command({"show", path, "layers.0.weight", "--slice", "1:2,:-1", "--json"})
            .out.find(R"("shape":[1,2],"values":[4.0,5.0])") != std::string::npos);
  CHECK(heft_command({"show", path, "layers.0.weight", "--slice", "1", "--json"})
            .out.find(R"("shape":[3],"values":[4.0,5.0,-6.0])") != std::string::npos);
  CHECK(heft_command({"show", path, "layers.0.weight", "--head", "2", "--json"})
            .out.find(R"("values":[1.0,2.0],"min":-6.0)") != std::string::npos);
  CHECK(heft_command({"show", path, "count", "--json"}).out.find(R"("values":[-7],"min":-7.0)") != std::string::npos);
  CHECK(heft_command({"show", path, "mask", "--json"}).out.find(R"("values":[true,false,true])") != std::string::npos);
  CHECK(heft_command({"show", path, "half", "--json"}).out.find(R"("values":[1.0,-2.0])") != std::string::npos);
}

TEST_CASE("show: prints NaN and infinity in JSON as strings, with counts") {
  const TempFolder folder;
  const CliRun run = heft_command({"show", damaged_model(folder), "w", "--json"});
  CHECK(run.out.find(R"("values":[1.0,"nan","inf",2.0],"min":1.0,"max":2.0,"mean":1.5,"nan":1,"inf":1)") !=
        std::string::npos);
}

TEST_CASE("show: a wrong name, a wrong slice and a wrong word are one line on the error stream and status 2") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun name = heft_command({"show", path, "layers.0.wieght"});
  CHECK(name.status == 2);
  CHECK(name.out.empty());
  CHECK(name.err.starts_with("heft: "));
  CHECK(name.err.find("layers.0.weight") != std::string::npos);
  CHECK(name.err.find('\n') == name.err.size() - 1);
  for (const char* slice : {"0:9", "a", "0:1,0:1,0:1", ",", "5", "2:1", "9223372036854775807"})
    CHECK(heft_command({"show", path, "layers.0.weight", "--slice", slice}).status == 2);
  CHECK(heft_command({"shwo", path}).status == 2);
  CHECK(heft_command({}).status == 2);
  CHECK(heft_command({"ls"}).status == 2);
}

TEST_CASE("hash: SHA-256 of the packed bytes, sorted by name") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun run = heft_command({"hash", path});
  CHECK(run.status == 0);
  std::istringstream lines(run.out);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) names.push_back(line.substr(66));
  CHECK(names == std::vector<std::string>{"count", "half", "layers.0.weight", "layers.1.weight", "mask"});
  // printf '\xf9\xff\xff\xff\xff\xff\xff\xff' | sha256sum
  CHECK(heft_command({"hash", path, "count"}).out ==
        "9db26f8ea010babf6afb228a7b257afe54c28f98cd0b246a2f16dc14d16336d7  count\n");
  CHECK(heft_command({"hash", path, "nothing"}).status == 2);
}

TEST_CASE("diff: complex zeros of either sign are equal, and so are complex NaN") {
  const TempFolder folder;
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  const auto file = [&](const char* name, std::vector<float> parts) {
    SafetensorsBuilder builder;
    builder.add("c", "C64", {2}, packed<float>(std::move(parts)));
    return folder.write(name, builder.build()).string();
  };
  const std::string zero = file("zero.safetensors", {0, 0, nan, 1});
  CHECK(heft_command({"diff", zero, file("signed.safetensors", {-0.0F, 0, 2, -nan})}).status == 0);
  const CliRun apart = heft_command({"diff", zero, file("apart.safetensors", {0, 3, 1, 1})});
  CHECK(apart.status == 1);
  CHECK(apart.out.find("c: 2 of 2 values differ, by at most inf (relative inf") != std::string::npos);
}

TEST_CASE("diff: reports equal files, and every kind of difference with status 1") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun same = heft_command({"diff", path, small_model(folder, "twin.safetensors")});
  CHECK(same.status == 0);
  CHECK(same.out == "5 equal, 0 different, 0 in one only\n");
  SafetensorsBuilder builder;
  builder.add("layers.0.weight", "F32", {2, 3}, packed<float>({1, 2, 3, 4, 5, -5}));
  builder.add("layers.1.weight", "F32", {3, 2}, packed<float>({0.5F, 0, 0, 0, 0, 1}));
  builder.add("count", "I32", {}, packed<std::int32_t>({-7}));
  builder.add("fresh", "F32", {1}, packed<float>({1}));
  const CliRun apart = heft_command({"diff", path, folder.write("other.safetensors", builder.build())});
  CHECK(apart.status == 1);
  CHECK(apart.out.find("layers.0.weight: 1 of 6 values differ, by at most 1 (relative 0.166") != std::string::npos);
  CHECK(apart.out.find("layers.1.weight: f32 [2, 3] against f32 [3, 2]") != std::string::npos);
  CHECK(apart.out.find("count: i64 [] against i32 []") != std::string::npos);
  CHECK(apart.out.find("mask: only in ") != std::string::npos);
  CHECK(apart.out.find("fresh: only in ") != std::string::npos);
  CHECK(apart.out.find("0 equal, 3 different, 3 in one only") != std::string::npos);
}

TEST_CASE("verify: 0 for a sound file, 1 for NaN and for a truncated file, 2 for no file") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  CHECK(heft_command({"verify", path}).status == 0);
  const CliRun damaged = heft_command({"verify", damaged_model(folder)});
  CHECK(damaged.status == 1);
  CHECK(damaged.out.find("w: 1 NaN, 1 infinite of 4") != std::string::npos);
  CHECK(heft_command({"verify", damaged_model(folder), "--allow-non-finite"}).status == 0);
  const std::string content = heft::test::content_of(path);
  const CliRun truncated = heft_command(
      {"verify", folder.write("short.safetensors", std::string_view(content).substr(0, content.size() - 1))});
  CHECK(truncated.status == 1);
  CHECK(truncated.err.starts_with("heft: "));
  CHECK(heft_command({"verify", (folder.path() / "absent").string()}).status == 2);
}

TEST_CASE("verify: a record of a zip archive whose checksum is wrong is damage, though it loads") {
  const auto fixtures = heft::test::fixtures("torch-synthetic");
  if (!fixtures) return;
  const std::string path = (*fixtures / "hostile" / "zip_crc_wrong.pt").string();
  CHECK(heft_command({"ls", path}).status == 0);
  const CliRun run = heft_command({"verify", path});
  CHECK(run.status == 1);
  CHECK(run.out.find("1 record with a wrong checksum") != std::string::npos);
}

TEST_CASE("load: reports bytes read and written, and peak memory") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  const CliRun run = heft_command({"load", path, "--json"});
  CHECK(run.status == 0);
  CHECK(run.out.find(R"("tensors":5,"bytes_read":63,"bytes_written":63)") != std::string::npos);
  CHECK(run.out.find(R"("peak_anonymous":)") != std::string::npos);
  // Floats are converted, integers and booleans pass.
  CHECK(heft_command({"load", path, "--dtype", "f64", "--json"}).out.find(R"("bytes_written":123)") !=
        std::string::npos);
  CHECK(heft_command({"load", path, "--select", "layers.*", "--shard", "1/3", "--dim", "1", "--json"})
            .out.find(R"("bytes_written":16)") != std::string::npos);
  CHECK(heft_command({"load", path, "--threads", "2"}).out.find("GB/s") != std::string::npos);
  for (const std::string io : {"automatic", "map", "direct", "read"})
    CHECK(heft_command({"load", path, "--io", io}).status == 0);
}

TEST_CASE("load: refuses impossible options with one message") {
  const TempFolder folder;
  const std::string path = small_model(folder);
  CHECK(heft_command({"load", path, "--dtype", "f99"}).status == 2);
  CHECK(heft_command({"load", path, "--shard", "3"}).status == 2);
  CHECK(heft_command({"load", path, "--shard", "8/8"}).status == 2);
  CHECK(heft_command({"load", path, "--shard", "0/2", "--dim", "1"}).status == 2);  // 3 columns do not halve
  CHECK(heft_command({"load", path, "--io", "telepathy"}).status == 2);
  CHECK(heft_command({"load", path, "--select", "nothing*"}).err.find("no tensor matches") != std::string::npos);
}

TEST_CASE("every command refuses a missing, an empty and an unknown file in the same way") {
  const TempFolder folder;
  const std::string absent = (folder.path() / "absent.safetensors").string();
  const std::string empty = folder.write("empty.safetensors", std::string_view{});
  const std::string alien =
      folder.write("alien.bin", std::string_view("this is no checkpoint, whatever its name may say"));
  for (const std::string& path : {absent, empty, alien})
    for (const std::string command : {"ls", "tree", "hash", "load"}) {
      const CliRun run = heft_command({command, path});
      CHECK(run.status == 2);
      CHECK(run.out.empty());
      CHECK(run.err.starts_with("heft: "));
      CHECK(run.err.find(path.substr(path.rfind('/') + 1)) != std::string::npos);
    }
}

TEST_CASE("help and version go to the output stream with status 0") {
  const CliRun help = heft_command({"--help"});
  CHECK(help.status == 0);
  for (const char* word : {"ls", "tree", "show", "hash", "diff", "verify", "load", "formats"})
    CHECK(help.out.find(word) != std::string::npos);
  CHECK(heft_command({"--version"}).out == "heft " + std::string(heft::version()) + "\n");
  CHECK(heft_command({"show", "--help"}).out.find("--slice") != std::string::npos);
  CHECK(heft_command({"formats", "--json"}).out.find(R"("format":"safetensors")") != std::string::npos);
}
