// DeepSpeed's universal checkpoints: a folder for each parameter is one checkpoint.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/record.hpp"
#include "record/support.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::test::pickle;
using test::packed;
using test::TempFolder;

namespace {

// As ds_to_universal.py writes a parameter's weight, and its optimizer's states.
std::string state_of(const std::vector<float>& values, std::string_view key = "param") {
  const int count = static_cast<int>(values.size());
  return torch_file(dict({text("cat_dim"), integer(0), text(key), tensor("0", count, 0, {count}, {1})}),
                    {packed<float>(values)});
}

void write_universal(const TempFolder& folder, const std::string& at) {
  folder.write(at + "zero/layers.0.weight/fp32.pt", state_of({1, 2, 3}));
  folder.write(at + "zero/layers.0.weight/exp_avg.pt", state_of({9, 9, 9}));
  folder.write(at + "zero/layers.0.weight/step.pt", torch_file(integer(5)));
  folder.write(at + "zero/norm.weight/fp32.pt", state_of({4}));
  folder.write(at + "zero/norm.weight/exp_avg.pt", state_of({9}));
  folder.write(at + "zero/optimizer_state.pt", torch_file(dict({text("lr"), integer(1)})));
  folder.write(at + "mp_rank_00_model_states.pt", torch_file(dict({text("module"), "N"})));
}

Error error_of(const std::filesystem::path& path, const OpenOptions& options = {}) {
  return test::thrown_by([&] { return open(path, options); });
}

bool has(std::string_view said, std::string_view words) { return said.find(words) != said.npos; }

}  // namespace

TEST_CASE("universal: the weights of all parameters are one checkpoint, from it, above it and in it") {
  const TempFolder folder;
  write_universal(folder, "global_step5_universal/");
  folder.write("latest_universal", "global_step5_universal\n");
  folder.write("zero_to_fp32.py", "");
  const auto inner = folder.path() / "global_step5_universal";
  for (const auto& path : {inner, inner / "", folder.path(), inner / "zero"}) {
    CAPTURE(path.string());
    const Checkpoint checkpoint = open(path);
    CHECK(test::names_of(checkpoint) == std::vector<std::string>{"layers.0.weight", "norm.weight"});
    CHECK(test::values_of(checkpoint.tensor("layers.0.weight")) == std::vector<float>{1, 2, 3});
    CHECK(test::values_of(checkpoint.tensor("norm.weight")) == std::vector<float>{4});
    CHECK(checkpoint.root()["layers"][0]["weight"].kind() == RecordKind::tensor);
    CHECK(checkpoint.freshness() == Freshness::same);
    const std::string last = checkpoint.notes().back();
    CHECK(has(last, "the weights are those of fp32.pt; not used: 'exp_avg.pt'"));
    CHECK(has(last, "'optimizer_state.pt'"));
    CHECK(has(last, "mp_rank_00_model_states.pt") == (path.filename() != "zero"));
    CHECK(checkpoint.notes().size() == (path == folder.path() ? 2U : 1U));
  }
  CHECK(error_of(inner, {.torch = {.top_level_key = "module"}}).code() == ErrorCode::out_of_range);
}

TEST_CASE("universal: incomplete parameters, and files that are no parameters, are refused") {
  const TempFolder folder;
  write_universal(folder, "");
  CHECK(open(folder.path()).tensors().size() == 2);
  std::filesystem::rename(folder.path() / "zero/norm.weight/fp32.pt", folder.path() / "kept");
  const Error missing = error_of(folder.path());
  CHECK(missing.code() == ErrorCode::not_found);
  CHECK(has(missing.what(), "1 of 2 parameters have no fp32.pt: 'norm.weight'"));
  folder.write("zero/norm.weight/fp32.pt", state_of({4}, "other"));
  const Error other = error_of(folder.path());
  CHECK(other.code() == ErrorCode::corrupt);
  CHECK(other.tensor() == "norm.weight");
  CHECK(has(other.what(), "fp32.pt"));
  folder.write("zero/norm.weight/fp32.pt", "text");
  CHECK(has(error_of(folder.path()).what(), "torch.save"));
}

TEST_CASE("universal: latest_universal can only name a folder beside it, which must exist") {
  const TempFolder folder;
  folder.write("latest_universal", "global_step9");
  const Error gone = error_of(folder.path());
  CHECK(gone.code() == ErrorCode::not_found);
  CHECK(has(gone.what(), "'global_step9'"));
  folder.write("latest_universal", "../elsewhere");
  CHECK(error_of(folder.path()).code() == ErrorCode::refused);
}
