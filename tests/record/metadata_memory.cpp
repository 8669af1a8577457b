// The memory of a checkpoint's metadata has one limit, whatever the format; real files take a small part of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "record/state.hpp"
#include "support/burnpack_builder.hpp"
#include "support/cbor_builder.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/memory_use.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
namespace fs = std::filesystem;

namespace {

const core::MetadataBudget& budget_of(const Checkpoint& checkpoint) {
  return *record::StateAccess::state(checkpoint)->budget;
}

// Bytes taken for each byte of metadata read.
double ratio_of(const Checkpoint& checkpoint) {
  const core::MetadataBudget& budget = budget_of(checkpoint);
  return static_cast<double>(budget.peak_bytes()) /
         static_cast<double>(std::max<std::uint64_t>(budget.read_bytes(), 1));
}

void check_limit(const Error& error) {
  CHECK(error.code() == ErrorCode::limit_exceeded);
  CHECK(error.message().find("Limits::metadata_memory_bytes") != std::string::npos);
  CHECK(!error.path().empty());
}

// A list that is held twice by the one above it, and so on: 2^levels names of one tensor.
std::string doubled(int levels) {
  using namespace test::pickle;
  std::string object = tensor("0", 1, 0, {1}, {1});
  for (int level = 0; level < levels; ++level) object = "](" + object + "2e";  // DUP
  return torch_file(object, {std::string(4, 'x')});
}

// A list of many tuples ((), ()): a byte or two each, and values of 16.
std::string tuples(std::size_t count) {
  std::string object = "](";
  for (std::size_t i = 0; i < count; ++i)
    object += i % 1000 == 999 ? "))\x86"
                                "e("
                              : "))\x86";
  return object + "e";
}

std::string model_of(std::size_t tensors) {
  std::string header = "{";
  for (std::size_t i = 0; i < tensors; ++i)
    header += fmt::format(
        R"({}"model.layers.{}.mlp.experts.{}.up_proj.weight":{{"dtype":"U8","shape":[1,1],"data_offsets":[{},{}]}})",
        i == 0 ? "" : ",", i / 512, i % 512, i, i + 1);
  return test::safetensors_file(header + "}", std::string(tensors, 'x'));
}

std::string state_dict_of(std::size_t tensors) {
  test::TorchBuilder file;
  for (std::size_t i = 0; i < tensors; ++i)
    file.tensor(fmt::format("model.layers.{}.mlp.experts.{}.up_proj.weight", i / 512, i % 512), "ByteStorage", {1, 1},
                "x");
  return file.build();
}

std::string burnpack_of(const std::string& name) {
  using namespace test::cbor;
  namespace burnpack = test::burnpack;
  return burnpack::file(burnpack::metadata({text(name), burnpack::tensor(text("U8"), {1}, 0, 1)}), "x");
}

std::string flax_of(const std::string& name) {
  using namespace test::pack;
  return map({text(name), extension(1, list({shape({1}), text("uint8"), bytes("x")}))});
}

// An array of arrays of one byte each: 13 bytes an array.
std::string arrays_of_arrays(std::size_t count) {
  test::GgufBuilder builder;
  std::string arrays = builder.array_head(test::GgufValue::array, count);
  const std::string one = builder.array_head(test::GgufValue::u8, 1) + "\x07";
  for (std::size_t i = 0; i < count; ++i) arrays += one;
  return builder.pair("arrays", test::GgufValue::array, arrays).build();
}

// A tensor, and a map of as many integers.
std::string many_values(std::size_t count) {
  using namespace test::pickle;
  std::string map = "}(";
  for (std::size_t i = 0; i < count; ++i)
    map += text(fmt::format("key{}", i)) + integer(static_cast<std::int32_t>(i) + 1'000);
  return torch_file("}(" + text("w") + tensor("0", 1, 0, {1}, {1}) + text("map") + map + "uu", {std::string(4, 'x')});
}

}  // namespace

TEST_CASE("metadata memory: names that a kilobyte of pickle multiplies are refused by the limit's name") {
  const test::TempFolder folder;
  const fs::path path = folder.write("doubled.pt", doubled(20));
  REQUIRE(fs::file_size(path) < 4096);
  check_limit(test::thrown_by([&] { return open(path); }));
  OpenOptions trusted;
  trusted.limits.metadata_memory_bytes = std::uint64_t{1} << 30;
  CHECK(open(path, trusted).tensors().size() == 1u << 20);
  CHECK(open(folder.write("few.pt", doubled(10))).tensors().size() == 1u << 10);
}

TEST_CASE("metadata memory: refuses a pickle that inflates too much or has too many values, before it allocates") {
  const test::TempFolder folder;
  using namespace test::pickle;
  const std::string pickle = proto() + tuples(4'000'000) + ".";
  const auto file = [&](bool deflate) {
    return test::ZipBuilder()
        .add({.name = "archive/data.pkl", .content = pickle, .deflate = deflate})
        .add("archive/version", "3\n")
        .build();
  };
  const fs::path deflated = folder.write("deflated.pt", file(true));
  REQUIRE(fs::file_size(deflated) < 200'000);
  const bool measured = test::reset_peak() && !test::memory_is_shadowed();
  const std::uint64_t before = test::resident_bytes();
  check_limit(test::thrown_by([&] { return open(deflated); }));
  if (measured) CHECK(test::peak_resident_bytes() < before + (48u << 20));
  // The same values in a file of 12 MB are within the limit that its size gives.
  OpenOptions exact;
  exact.limits.metadata_memory_bytes = 64u << 20;
  check_limit(test::thrown_by([&] { return open(folder.write("stored.pt", file(false)), exact); }));
}

TEST_CASE("metadata memory: each format counts its tables") {
  const test::TempFolder folder;
  const std::string name(3000, 'n');
  test::GgufBuilder gguf;
  gguf.text("general.architecture", "x").tensor("w", {1}, 24, "x");
  const std::string description = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}\n";
  const std::string array = std::string("\x93NUMPY\x01\0", 8) + test::little(description.size(), 2) + description + "x";
  using namespace test::pack;
  const std::string record =
      map({text("metadata"), map({text("float"), text("f32")}), text("item"),
           map({text(name), map({text("bytes"), bytes("x"), text("shape"), shape({1}), text("dtype"), text("U8")})})});
  const std::vector<std::pair<std::string, std::string>> files{
      {"a.safetensors", test::SafetensorsBuilder().add(name, "U8", {1}, "x").build()},
      {"a.pt", test::TorchBuilder().tensor(name, "ByteStorage", {1}, "x").build()},
      {"a.gguf", gguf.build()},
      {"a.npz", test::ZipBuilder().add(name + ".npy", array).build()},
      {"a.bpk", burnpack_of(name)},
      {"a.msgpack", flax_of("w")},
      {"a.mpk", record},
      {"a.index.json", R"({"weight_map": {"w": "a.safetensors"}})"},
  };
  for (const auto& [file, bytes] : files) {
    INFO(file);
    const fs::path path = folder.write(file, bytes);
    if (!file.ends_with(".json")) {
      const Checkpoint checkpoint = open(path);
      CHECK(checkpoint.tensors().size() == 1);
      CHECK(budget_of(checkpoint).read_bytes() > 0);  // its limit grows with the file
    }
    OpenOptions tight;
    tight.limits.metadata_memory_bytes = 15;
    check_limit(test::thrown_by([&] { return open(path, tight); }));
  }
}

TEST_CASE("metadata memory: the tree is counted when it is built, and names can be looked up without it") {
  const test::TempFolder folder;
  std::string parts;
  for (int part = 0; part < 900; ++part) parts += ".a";
  std::string header = "{";
  for (int i = 0; i < 2000; ++i)
    header += fmt::format(R"({}"{}{}":{{"dtype":"U8","shape":[],"data_offsets":[{},{}]}})", i == 0 ? "" : ",", i, parts,
                          i, i + 1);
  const Checkpoint checkpoint =
      open(folder.write("deep.safetensors", test::safetensors_file(header + "}", std::string(2000, 'x'))));
  CHECK(checkpoint.find("7" + parts));
  const std::uint64_t used = budget_of(checkpoint).used_bytes();
  const Error error = test::thrown_by([&] { return checkpoint.root(); });
  check_limit(error);
  CHECK(error.path().ends_with("deep.safetensors"));
  CHECK(budget_of(checkpoint).used_bytes() == used);  // what was built of it is gone
}

TEST_CASE("metadata memory: arrays of arrays in GGUF are counted as they are read, and stay within the limit") {
  const test::TempFolder folder;
  for (const std::size_t arrays : {80'000u, 700'000u}) {
    CAPTURE(arrays);
    const fs::path path = folder.write("arrays.gguf", arrays_of_arrays(arrays));
    const std::uint64_t size = fs::file_size(path);
    const bool measured = test::reset_peak() && !test::memory_is_shadowed();
    const std::uint64_t before = test::resident_bytes();
    try {
      const Checkpoint checkpoint = open(path);
      const Record all = checkpoint.metadata()["arrays"];
      CHECK(all.size() == arrays);
      CHECK(all[arrays - 1][0].unsigned_integer() == 7);
      CHECK(all.child(1).path() == "arrays.1");
    } catch (const Error& error) {
      check_limit(error);
    }
    if (!measured) continue;
    const std::uint64_t peak = test::peak_resident_bytes() - before;
    MESSAGE(size << " bytes of arrays of arrays: peak " << peak << ", "
                 << static_cast<double>(peak) / static_cast<double>(size) << " times");
    CHECK(peak < (16u << 20) + 8 * size);
  }
}

TEST_CASE("metadata memory: arrays that a GGUF file declares and does not hold take nothing") {
  // Each array of arrays declares as many as could just follow it, and begins with the next.
  test::GgufBuilder builder;
  std::string nested;
  constexpr std::size_t bytes = 4'000'000;
  for (int depth = 0; depth < 20; ++depth) nested += builder.array_head(test::GgufValue::array, bytes / 12 - 2 * 20);
  builder.pair("nested", test::GgufValue::array, nested + std::string(bytes, '\0'));
  const test::TempFolder folder;
  const fs::path path = folder.write("nested.gguf", builder.build());
  OpenOptions tight;
  tight.limits.metadata_memory_bytes = 64'000'000;  // half of what one node for each declared array takes
  const Error error = test::thrown_by([&] { return open(path, tight); });
  CHECK(error.code() == ErrorCode::corrupt);
}

TEST_CASE("metadata memory: what a tree adds for totals, paths and keys is counted, and refused by the limit's name") {
  const test::TempFolder folder;
  constexpr std::size_t count = 50'000;
  const fs::path path = folder.write("values.pt", many_values(count));
  std::uint64_t with_tree = 0;
  {
    const Checkpoint checkpoint = open(path);
    const Record root = checkpoint.root();
    const core::MetadataBudget& budget = budget_of(checkpoint);
    with_tree = budget.used_bytes();
    CHECK(root["map"].child(7).path() == "map.key7");
    const std::uint64_t with_paths = budget.used_bytes();
    CHECK(with_paths >= with_tree + 8 * count);
    CHECK(root["map"]["key7"].integer() == 1'007);
    const std::uint64_t with_keys = budget.used_bytes();
    CHECK(with_keys >= with_paths + 4 * count);
    CHECK(root.tensor_count() == 1);
    CHECK(budget.used_bytes() >= with_keys + 16);
  }
  OpenOptions exact;
  exact.limits.metadata_memory_bytes = with_tree + 4096;
  for (int attempt = 0;; ++attempt) {
    // Opening takes more for a while than what it keeps.
    REQUIRE(attempt < 64);
    try {
      const Checkpoint checkpoint = open(path, exact);
      const Record root = checkpoint.root();
      const core::MetadataBudget& budget = budget_of(checkpoint);
      const std::uint64_t left = budget.limit() - budget.used_bytes();
      if (left >= 4 * count) break;
      check_limit(test::thrown_by([&] { return root["map"].child(7).path(); }));
      CHECK(root["map"]["key49999"].integer() == 50'999);  // all pairs are compared
      CHECK(budget.limit() - budget.used_bytes() == left);
      break;
    } catch (const Error& error) {
      check_limit(error);
      exact.limits.metadata_memory_bytes += 64 << 10;
    }
  }
}

TEST_CASE("metadata memory: 92,000 tensors take a small part of the limit, with their tree") {
  const test::TempFolder folder;
  constexpr std::size_t tensors = 92'000;
  for (const auto& [name, bytes] :
       {std::pair("model.safetensors", model_of(tensors)), std::pair("model.pt", state_dict_of(tensors))}) {
    const Checkpoint checkpoint = open(folder.write(name, bytes));
    CHECK(checkpoint.tensors().size() == tensors);
    CHECK(checkpoint.root()["model"]["layers"].size() == tensors / 512 + 1);
    const core::MetadataBudget& budget = budget_of(checkpoint);
    const double ratio = ratio_of(checkpoint);
    MESSAGE(name << ": " << budget.read_bytes() << " bytes of metadata, " << budget.peak_bytes() << " counted, ratio "
                 << ratio);
    CHECK(ratio < 6);
    CHECK(budget.peak_bytes() < budget.limit() / 3 * 2);
  }
}

TEST_CASE("metadata memory: the fixtures are far from the limit") {
  const auto root = test::fixtures("");
  if (!root) return;
  std::size_t opened = 0;
  double largest = 0;
  std::uint64_t most = 0;
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(*root)) {
    if (!file.is_regular_file() || file.path().string().find("hostile") != std::string::npos) continue;
    try {
      const Checkpoint checkpoint = open(file.path());
      static_cast<void>(checkpoint.root());
      static_cast<void>(checkpoint.metadata());
      ++opened;
      largest = std::max(largest, static_cast<double>(budget_of(checkpoint).peak_bytes()) /
                                      static_cast<double>(budget_of(checkpoint).limit()));
      most = std::max(most, budget_of(checkpoint).peak_bytes());
    } catch (const Error& error) {
      CHECK_MESSAGE(error.message().find("metadata_memory_bytes") == std::string::npos, file.path().string());
    }
  }
  MESSAGE(opened << " files open; the largest share of the limit is " << largest << ", the most is " << most
                 << " bytes");
  CHECK(opened > 100);
  CHECK(largest < 0.5);
}

TEST_CASE("metadata memory: the reported files are refused, or open in little memory") {
  const auto folder = test::cases("attack-memory");
  if (!folder) return;
  for (const char* name : {"tuples-16.5M.pt", "laugh-20.pt"}) {
    INFO(name);
    const bool measured = test::reset_peak() && !test::memory_is_shadowed();
    const std::uint64_t before = test::resident_bytes();
    check_limit(test::thrown_by([&] { return open(*folder / name); }));
    if (measured) CHECK(test::peak_resident_bytes() < before + (56u << 20));
  }
}
