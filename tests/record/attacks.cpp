// Files that were made to confuse a reader, and one that an old program really wrote.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/element.hpp"
#include "record/support.hpp"
#include "support/fixtures.hpp"
#include "support/thrown.hpp"

using namespace heft;

TEST_CASE("attacks: Burn 0.19's file with an empty tensor opens") {
  const auto folder = test::cases("attack-burnpack");
  if (!folder) return;
  const Checkpoint opened = open(*folder / "unpadded-with-empty-tensor.bpk");
  std::uint64_t bytes = 0;
  for (const TensorView& view : opened.tensors()) bytes += view.size_bytes();
  CHECK(opened.tensors().size() == 5);
  CHECK(bytes == 43);
  CHECK(opened.tensor("a.w").read<float>(0, 1) == 1.0F);
}

TEST_CASE(
    "attacks: a tensor of an unknown dtype without bytes, or with dims that overflow, is refused at open by its "
    "place") {
  const auto folder = test::cases("attack-no-bytes");
  if (!folder) return;
  for (const test::Row& row : test::read_tsv(*folder / "INDEX.tsv")) {
    CAPTURE(row.at(0));
    const Error error = test::thrown_by([&] { return open(*folder / row.at(0)); });
    CHECK((error.code() == ErrorCode::corrupt || error.code() == ErrorCode::unsupported));
    CHECK(error.path().ends_with(row.at(0)));
    CHECK(error.offset().has_value());
  }
}

TEST_CASE("attacks: bfloat16 that NumPy saved without its name is read with --as") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  const auto path = *folder / "npz-bf16" / "model.npz";
  CHECK(open(path).tensor("w").dtype() == DType::unknown);
  const TensorView w = open(path, {.numpy = {.raw_items = {DType::bf16}}}).tensor("w");
  const float expected[] = {1, 2, -3};
  for (int i = 0; i < 3; ++i) CHECK(static_cast<float>(w.read<bf16>(i)) == expected[i]);
  const Error error = test::thrown_by(
      [&] { return open(*folder / "torch-numpy-array" / "model.pt", {.numpy = {.raw_items = {DType::bf16}}}); });
  CHECK(error.code() == ErrorCode::type_mismatch);
}

TEST_CASE("attacks: an array of objects is an error only when it is read as a tensor") {
  const auto folder = test::cases("bugreports-2");
  if (!folder) return;
  const Checkpoint opened = open(*folder / "npz-object-member" / "model.npz");
  CHECK(opened.notes().size() == 1);
  CHECK(opened.root()["info"].kind() == RecordKind::opaque);
  const Error error = test::thrown_by([&] { return opened.tensor("info"); });
  CHECK(error.code() == ErrorCode::type_mismatch);
  CHECK(std::string(error.what()).find("Python objects") != std::string::npos);
}
