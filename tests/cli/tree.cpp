// heft tree on records that have no end, or are deeper than a page is wide; and heft diff, which needs no tree.
#include <doctest/doctest.h>

#include <sstream>
#include <string>

#include "cli/commands.hpp"
#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::heft_command;

namespace {

namespace p = test::pickle;

// The note of every command about the files below, which contain one list.
const std::string no_tensors = "note: no tensors, but 1 other value\n";

test::CliRun tree_within(const cli::TreeBounds& bounds, const std::string& path, bool json) {
  std::ostringstream out;
  std::ostringstream err;
  cli::Terminal terminal{.out = out, .err = err, .width = 0, .colour = false, .progress = false};
  cli::TreeCommand command;
  command.path = path;
  command.json = json;
  command.bounds = bounds;
  const int status = cli::run(command, terminal);
  return {status, out.str(), err.str()};
}

// A list of lists of lists, ten in each.
std::string thousand_zeros(const test::TempFolder& folder) {
  const std::string ten = p::list(std::vector<std::string>(10, "K\x01"));
  const std::string hundred = p::list(std::vector<std::string>(10, ten));
  return folder.write("m.pt", p::torch_file(p::dict({p::text("l"), p::list(std::vector<std::string>(10, hundred))})));
}

// One tensor under each of those names.
std::string safetensors_of(const std::vector<std::string>& names) {
  test::SafetensorsBuilder builder;
  for (const std::string& name : names) builder.add(name, "U8", {1}, "x");
  return builder.build();
}

std::string gguf_of(const std::vector<std::string>& names) {
  test::GgufBuilder builder;
  for (const std::string& name : names) builder.tensor(name, {1}, 24, "x");
  return builder.build();
}

std::string torch_of(const std::vector<std::string>& names) {
  test::TorchBuilder builder;
  for (const std::string& name : names) builder.tensor(name, "ByteStorage", {1}, "x");
  return builder.build();
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("tree: leaves out nodes over the bounds with a note, and JSON stays valid") {
  const test::TempFolder folder;
  const std::string path = thousand_zeros(folder);
  CHECK(tree_within({}, path, true).err == no_tensors);
  CHECK(tree_within({}, path, false).err == no_tensors);

  const test::CliRun nodes = tree_within({.nodes = 5}, path, true);
  CHECK(nodes.status == 0);
  CHECK(nodes.out == "{\"l\":[[[1,\"...\"],\"...\"],\"...\"]}\n");
  CHECK(
      nodes.err ==
      no_tensors +
          "note: 27 children of 3 containers are left out: a tree is written out to 5 nodes, 256 MB and 2000 levels\n");

  const test::CliRun bytes = tree_within({.bytes = 3}, path, true);
  CHECK(bytes.out == "{\"l\":[\"...\"]}\n");
  CHECK(bytes.err.starts_with(no_tensors + "note: 10 children of 1 containers are left out"));

  const test::CliRun levels = tree_within({.levels = 2}, path, true);
  CHECK(levels.out == "{\"l\":[\"...\",\"...\",\"...\",\"...\",\"...\",\"...\",\"...\",\"...\",\"...\",\"...\"]}\n");
  CHECK(levels.err.starts_with(no_tensors + "note: 100 children of 10 containers are left out"));
  CHECK(heft_command({"tree", path, "--json", "--depth", "2"}).err == no_tensors);
}

TEST_CASE("tree: text over the bounds ends with the number of children that follow") {
  const test::TempFolder folder;
  const std::string path = thousand_zeros(folder);
  const test::CliRun run = tree_within({.nodes = 4}, path, false);
  CHECK(run.status == 0);
  CHECK(run.out ==
        "map of 1\n"
        "  l: list of 10\n"
        "    0: list of 10\n"
        "      0: list of 10\n"
        "        0: 1\n"
        "        ... 9 more\n"
        "      ... 9 more\n"
        "    ... 9 more\n");
  CHECK(run.err.starts_with(no_tensors +
                            "note: 27 children of 3 containers are left out: a tree is written out to 4 nodes"));
}

TEST_CASE("tree: writes nested lists to the maximum depth") {
  const test::TempFolder folder;
  const std::string nested = repeated("](", 900) + std::string(900, 'e');
  const std::string path = folder.write("m.pt", p::torch_file(p::dict({p::text("c"), nested})));
  const test::CliRun run = heft_command({"tree", path, "--json"});
  CHECK(run.status == 0);
  CHECK((run.out == "{\"c\":" + std::string(900, '[') + std::string(900, ']') + "}\n"));
  CHECK(run.err == no_tensors);
  const test::CliRun text = heft_command({"tree", path});
  CHECK(text.out.find("[900] 0: list of 1\n") == std::string::npos);
  CHECK(text.out.ends_with("[900] 0: list of 0\n"));
}

TEST_CASE("tree: levels past the fortieth are numbered instead of indented") {
  const test::TempFolder folder;
  const std::string path = folder.write("m.safetensors", safetensors_of({repeated("d.", 999) + "w"}));
  const test::CliRun run = heft_command({"tree", path});
  CHECK(run.status == 0);
  CHECK(run.out.find("\n" + std::string(80, ' ') + "d: map, 1 tensor, 1 B\n") != std::string::npos);
  CHECK(run.out.find("\n" + std::string(80, ' ') + "[41] d: map, 1 tensor, 1 B\n") != std::string::npos);
  CHECK(run.out.find("\n" + std::string(80, ' ') + "[1000] w: u8 [1] 1 B\n") != std::string::npos);
  CHECK(run.out.size() < 1000 * 120);
}

TEST_CASE("names of every unusual kind pass through every command, in every format that can represent them") {
  const test::TempFolder folder;
  const std::vector<std::string> odd = {
      repeated("d.", 1500) + "w", std::string(10'000, '.'), "..", "a.", ".a", "c..d", std::string(65'000, 'n'), "b"};
  for (const auto& [file, content] : {std::pair("m.safetensors", safetensors_of(odd)),
                                      std::pair("m.gguf", gguf_of(odd)), std::pair("m.pt", torch_of(odd))}) {
    const std::string path = folder.write(file, content);
    CAPTURE(path);
    const Checkpoint checkpoint = open(path);
    for (const std::string& name : odd) {
      REQUIRE(checkpoint.find(name));
      CHECK(checkpoint.root()[name].kind() == RecordKind::tensor);
    }
    for (const char* command : {"ls", "tree", "hash", "verify", "load"}) {
      const test::CliRun run = heft_command({command, path});
      CHECK_MESSAGE(run.status == 0, run.err.substr(0, 200));
    }
    const test::CliRun tree = heft_command({"tree", path, "--json"});
    CHECK(tree.status == 0);
    CHECK(heft_command({"diff", path, path}).out == "8 equal, 0 different, 0 in one only\n");
    const test::CliRun saved = heft_command({"convert", path, folder.path() / "out.safetensors"});
    CHECK_MESSAGE(saved.status == 0, saved.err.substr(0, 200));
    CHECK(heft_command({"diff", path, folder.path() / "out.safetensors"}).status == 0);
  }
}

TEST_CASE("cases: a name of 1,501 parts does not affect diff, tree and other tensors") {
  const auto folder = test::cases("bugreports-2/deep-name");
  if (!folder) return;
  const std::string path = *folder / "model.safetensors";
  CHECK(heft_command({"diff", path, path}).status == 0);
  const test::CliRun tree = heft_command({"tree", path});
  CHECK(tree.status == 0);
  CHECK(tree.out.find("  b: ") != std::string::npos);
  const Checkpoint checkpoint = open(path);
  CHECK(checkpoint.root()["b"].kind() == RecordKind::tensor);
  REQUIRE(checkpoint.notes().size() == 1);
  CHECK(checkpoint.notes()[0].find("1501 parts") != std::string::npos);
}
