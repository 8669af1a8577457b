// Situations that users reported, with the tensors that must come out of each: name, dtype, shape and SHA-256 of the
// packed bytes.
#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "cli/sha256.hpp"
#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "support/fixtures.hpp"

using namespace heft;

namespace {

namespace fs = std::filesystem;

// A row of the index.
struct Case {
  std::string name;
  std::string command;  // "heft ls CASE/model.pt"
  std::string best;     // "exit 0; tensors: NAME DTYPE [SHAPE] SHA256; NAME ...; words"
};

// What is compared of a tensor: "f32 [4, 3] 29e1...".
using Tensors = std::map<std::string, std::string>;

std::vector<Case> all_cases(const fs::path& folder) {
  std::vector<Case> cases;
  for (const test::Row& row : test::read_tsv(folder / "INDEX.tsv")) cases.push_back({row.at(0), row.at(4), row.at(5)});
  return cases;
}

// The path that `heft ls` is given, or nothing when the command is another.
fs::path listed_path(const Case& one, const fs::path& folder) {
  constexpr std::string_view start = "heft ls CASE";
  if (!one.command.starts_with(start)) return {};
  return folder / (one.name + one.command.substr(start.size()));
}

// One "NAME DTYPE [SHAPE] SHA256", without the words that may stand after it. Adds nothing for other text.
void add_tensor(std::string_view text, Tensors& into) {
  constexpr std::size_t digest_letters = 64;
  const std::size_t shape = text.find(" [");
  const std::size_t dtype = text.rfind(' ', shape == text.npos || shape == 0 ? 0 : shape - 1);
  const std::size_t digest = text.find("] ", shape);
  if (shape == text.npos || dtype == text.npos || digest == text.npos) return;
  if (text.size() < digest + 2 + digest_letters) return;
  into[std::string(text.substr(0, dtype))] = text.substr(dtype + 1, digest + 2 + digest_letters - dtype - 1);
}

Tensors expected_tensors(std::string_view best) {
  constexpr std::string_view start = "exit 0; tensors: ";
  Tensors tensors;
  if (!best.starts_with(start)) return tensors;
  best.remove_prefix(start.size());
  while (!best.empty()) {
    const std::size_t end = std::min(best.find("; "), best.size());
    add_tensor(best.substr(0, end), tensors);
    best.remove_prefix(std::min(end + 2, best.size()));
  }
  return tensors;
}

std::string words_of(const TensorView& view) {
  const Tensor tensor = materialize(view);
  return fmt::format("{} {} {}", view.dtype_name(), to_string(view.shape()), cli::sha256(tensor.bytes()));
}

// How the checkpoint differs from what the case must give; empty: not at all.
std::string difference(const Case& one, const fs::path& path) {
  Tensors missing = expected_tensors(one.best);
  try {
    for (const TensorView& view : open(path).tensors()) {
      const auto wanted = missing.find(std::string(view.name()));
      if (wanted == missing.end() && !view.has_data()) continue;
      if (wanted == missing.end()) return fmt::format("found also {}", view.name());
      const std::string words = words_of(view);
      if (words != wanted->second) return fmt::format("expected {} {}, found {}", wanted->first, wanted->second, words);
      missing.erase(wanted);
    }
  } catch (const Error& error) {
    return error.what();
  }
  if (!missing.empty()) return fmt::format("expected {}, found none", missing.begin()->first);
  const test::CliRun listed = test::heft_command({"ls", path.string()});
  return listed.status == 0 ? std::string() : fmt::format("heft ls: status {}", listed.status);
}

}  // namespace

TEST_CASE("cases: tensors of reported situations have the names, dtypes, shapes and bytes that they must have") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  std::size_t compared = 0;
  for (const Case& one : all_cases(*folder)) {
    const fs::path path = listed_path(one, *folder);
    if (path.empty() || expected_tensors(one.best).empty()) continue;
    CAPTURE(one.name);
    const std::string found = difference(one, path);
    CHECK_MESSAGE(found.empty(), found);
    ++compared;
  }
  CHECK(compared >= 9);
}

namespace {

// A case's command and words that the one line of its error, or one of its notes, must hold.
struct Said {
  const char* path;
  int status;
  std::vector<std::string_view> words;
};

}  // namespace

TEST_CASE("cases: a refusal or a fallback is one message with advice") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  const Said table[] = {
      {"folder-trainer-zero3", 2, {"no file here holds weights", "global_step5", "DeepSpeed", "zero_to_fp32.py"}},
      {"folder-hf-dangling/models--acme--tiny/snapshots/9f3c1e5d7a2b4c6d8e0f1a2b3c4d5e6f7a8b9c0d",
       2,
       {"model.safetensors", "not there", "interrupted"}},
      {"folder-hf-dangling/models--acme--tiny", 2, {"model.safetensors", "not there", "interrupted"}},
      {"index-missing-shards",
       2,
       {"3 of the 6 shards that the index names are missing", "model-00002-of-00006", "model-00005-of-00006",
        "model-00006-of-00006"}},
      {"index-stale", 0, {"not used", "none of the 4 files that it names is there"}},
      {"index-names-other-shard", 0, {"norm.weight", "model-00002-of-00002.safetensors"}},
      {"index-leaves-out-a-file", 0, {"does not name", "model-mtp-of-00002.safetensors"}},
      {"index-empty", 2, {"the index names no tensor", "model-00001-of-00002.safetensors"}},
      {"text-html/model.safetensors", 2, {"HTML page", "Sign in to continue", "download"}},
      {"text-json-error/model.safetensors", 2, {"JSON", R"({"error":"Repository not found"})"}},
      {"torch-cut/model.pt", 2, {"zip archive starts here", "end record", "download is incomplete"}},
      {"archive-zip/model.zip", 2, {"zip archive holding 'model.safetensors'", "unpack it"}},
      {"archive-tar/model.tar", 2, {"tar archive holding 'model/pytorch_model.bin'", "unpack it"}},
  };
  for (const Said& one : table) {
    CAPTURE(one.path);
    const test::CliRun run = test::heft_command({"ls", (*folder / one.path).string()});
    CHECK(run.status == one.status);
    const std::string said = run.out + run.err;
    for (const std::string_view word : one.words)
      CHECK_MESSAGE(said.find(word) != std::string::npos, std::string(word) << " in: " << said);
    if (one.status == 2) CHECK(std::ranges::count(run.err, '\n') == 1);
  }
}
