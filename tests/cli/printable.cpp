// Whatever a file holds, what the command prints acts on no terminal: nothing below 0x20 but the line feeds of the
// command's own, no DEL, no C1 control, no mark of direction, valid UTF-8.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/printable_stream.hpp"
#include "cli/text.hpp"
#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "support/fixtures.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/printable.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using test::CliRun;
using test::heft_command;
using test::TempFolder;

namespace {

namespace fs = std::filesystem;

// Texts of a hostile file: valid UTF-8 except for the last two.
constexpr auto words = std::to_array<std::string_view>({
    "\x1b[31mred\x1b[0m",
    "line\nfeed\r\ttab",
    "delete\x7f",
    "csi\xC2\x9B"
    "2J",
    "override\xE2\x80\xAE"
    "txt.exe",
    "isolate\xE2\x81\xA6x\xE2\x81\xA9",
    "mark\xD8\x9C\xE2\x80\x8E\xE2\x80\x8F",
    "separators\xE2\x80\xA8\xE2\x80\xA9",
    "raw\x9B"
    "31m",
    "cut\xE2\x80",
});

std::string json_escaped(std::string_view word) { return cli::json_text(word); }

void check_stream(const std::string& text, std::string_view stream) {
  CAPTURE(stream);
  CHECK(test::unprintable_at(text, test::Lines::many) == std::string_view::npos);
}

// Lines of the command's own: a name from the file adds none. `lines` 0: not compared.
void check_run(std::initializer_list<std::string> arguments, std::size_t lines = 0) {
  const CliRun run = heft_command(arguments);
  CAPTURE(*arguments.begin());
  check_stream(run.out, "out");
  check_stream(run.err, "err");
  CHECK((run.status >= 0 && run.status <= 2));
  if (lines != 0) CHECK(static_cast<std::size_t>(std::count(run.out.begin(), run.out.end(), '\n')) == lines);
  if (run.status == 2) CHECK(std::count(run.err.begin(), run.err.end(), '\n') >= 1);
}

std::string first_name(const std::string& path) {
  try {
    const Checkpoint checkpoint = open(path);
    if (checkpoint.tensors().empty()) return "none";
    const TensorView first = checkpoint.tensors()[0];
    return std::string(first.name());
  } catch (const Error& error) {
    CHECK(test::unprintable_at(error.what()) == std::string_view::npos);
    return "none";
  }
}

void check_every_command(const std::string& path, const fs::path& scratch) {
  CAPTURE(path);
  const std::string name = first_name(path);
  check_run({"ls", path});
  check_run({"ls", "--json", path});
  check_run({"tree", path});
  check_run({"tree", "--json", path});
  check_run({"tree", "--metadata", path});
  check_run({"tree", "--metadata", "--json", path});
  check_run({"show", path, name});
  check_run({"show", "--json", path, name});
  check_run({"show", path, name + "x"});
  check_run({"hash", path});
  check_run({"diff", path, path});
  check_run({"verify", path});
  check_run({"verify", "--json", path});
  check_run({"load", path});
  check_run({"load", "--json", "--dtype", "bf16", path});
  for (const char* suffix : {"out.safetensors", "out.npz", "out.gguf"}) {
    check_run({"convert", path, (scratch / suffix).string()});
    check_run({"convert", "--json", "--dtype", "f16", path, (scratch / suffix).string()});
  }
}

// Files of each family whose names, keys, values and words are `word`.
std::vector<std::string> hostile_files(std::string_view word) {
  namespace pickle = test::pickle;
  std::vector<std::string> files;
  files.push_back(test::safetensors_file("{\"__metadata__\":{" + json_escaped(word) + ":" + json_escaped(word) + "}," +
                                             json_escaped(word) +
                                             ":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                                         "abcd"));
  files.push_back(test::safetensors_file(
      "{\"a\":{\"dtype\":" + json_escaped(word) + ",\"shape\":[1],\"data_offsets\":[0,4]}}", "abcd"));
  files.push_back(test::safetensors_file("{" + std::string("\"") + std::string(word) + "\":1}", ""));
  files.push_back(pickle::torch_file(
      pickle::dict({pickle::text(word), pickle::tensor("0", 1, 0, {1}, {1}), pickle::text("text"), pickle::text(word),
                    pickle::text("object"),
                    pickle::object("module", std::string(word.substr(0, word.find('\n'))), pickle::dict({}))}),
      {"abcd"}));
  files.push_back(pickle::torch_file(
      pickle::call("torch._utils", std::string(word.substr(0, word.find('\n'))), {pickle::text(word)})));
  files.push_back(test::pack::map({test::pack::text(word), test::pack::text(word), test::pack::text("b"),
                                   test::pack::list({test::pack::text(word)})}));
  return files;
}

}  // namespace

TEST_CASE("printable: every command escapes hostile names, keys, values and words") {
  const TempFolder folder;
  for (const std::string_view word : words)
    for (const std::string& bytes : hostile_files(word))
      check_every_command(folder.write("model.bin", bytes).string(), folder.path());
}

TEST_CASE("printable: a hostile path is escaped in every output and in every Error") {
  const TempFolder folder;
  test::SafetensorsBuilder builder;
  builder.add("w", "F32", {1}, "abcd");
  for (const std::string_view word : words) {
    check_every_command(folder.write(std::string(word) + ".safetensors", builder.build()).string(), folder.path());
    check_every_command(folder.write(std::string(word), "no model").string(), folder.path());
    check_every_command((folder.path() / ("absent" + std::string(word))).string(), folder.path());
  }
}

TEST_CASE("printable: a name from a file adds no line") {
  const TempFolder folder;
  const std::string path =
      folder
          .write("m.safetensors",
                 test::safetensors_file(R"({"a\nb":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"))
          .string();
  check_run({"ls", path}, 4);
  check_run({"ls", "--json", path}, 1);
  check_run({"tree", path}, 2);
  check_run({"hash", path}, 1);
}

TEST_CASE("printable: a JSON string has the name's value, escaped or not") {
  const TempFolder folder;
  const std::string name =
      "csi\xC2\x9B"
      "2J \xE2\x80\xAE\x7f\x1b \xC3\xA9";
  const std::string path =
      folder
          .write("m.safetensors",
                 test::safetensors_file(
                     "{" + json_escaped(name) + R"(:{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"))
          .string();
  CHECK(open(path).find(name).has_value());
  CHECK(heft_command({"ls", "--json", path})
            .out.find(R"("csi\u009b2J \u202e\u007f\u001b )"
                      "\xC3\xA9\"") != std::string::npos);
}

TEST_CASE("printable: the streams escape what a command did not, also across writes") {
  std::ostringstream to;
  {
    cli::PrintableStream out(to);
    out << "a\x1b[31m\n" << '\xC2';
    out << '\x9B' << "\xE2\x80" << "\xAE" << "\xC3\xA9" << '\xFF' << "\xF0\x9D" << 'x' << 12 << "\xE2";
  }
  CHECK(to.str() == "a\\x1b[31m\n\\u009b\\u202e\xC3\xA9\\xff\\xf0\\x9dx12\\xe2");
}

TEST_CASE("printable: an escaping stream reports that its target is broken") {
  std::ostringstream to;
  cli::PrintableStream out(to);
  out << "fine";
  CHECK(out.flush().good());
  to.setstate(std::ios::badbit);
  out << "lost";
  CHECK(!out.flush().good());
}

TEST_CASE("printable: escapes files that were made to control a terminal") {
  const auto folder = test::cases("attack-terminal");
  if (!folder) return;
  const TempFolder scratch;
  std::size_t tried = 0;
  for (const test::Row& row : test::read_tsv(*folder / "INDEX.tsv")) {
    check_every_command((*folder / row.at(0)).string(), scratch.path());
    ++tried;
  }
  CHECK(tried == 4);
}
