#include "heft/remap.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::checkpoint_of;
using test::names_of;
using test::thrown_by;

namespace {

std::string renamed(std::string_view pattern, std::string_view replacement, std::string_view name) {
  return Remapping().add(pattern, replacement)(name);
}

}  // namespace

TEST_CASE("remap: replacements refer to groups by number and by name") {
  struct Row {
    std::string_view pattern, replacement, name, expected;
  };
  static constexpr Row rows[] = {
      {"^module\\.", "", "module.a.module.b", "a.module.b"},
      {"\\.gamma$", ".weight", "ln.gamma", "ln.weight"},
      {"(.*)\\.(.*)", "$2.$1", "a.b", "b.a"},
      {"(.*)\\.(.*)", "${2}x.${1}", "a.b", "bx.a"},
      {"(.*)\\.(.*)", "$1a.$2", "a.b", ".b"},  // the group is called "1a"
      {"(?P<layer>\\d+)", "<$layer>", "h.12.w", "h.<12>.w"},
      {"(?<layer>\\d+)", "<${layer}>", "h.12.w", "h.<12>.w"},
      {"(?<layer>\\d+)", "$none|$9|", "1", "||"},
      {"a", "$$", "aba", "$b$"},
      {"a", "$", "a", "$"},
      {"a", "$ ", "a", "$ "},
      {"a", "${", "a", "${"},
      {"a", "\\1", "a", "\\1"},
      {"a", "$0$0", "a", "aa"},
      {"", "-", "ab", "-a-b-"},
      {"", "-", "", "-"},
      {"x*", "-", "axb", "-a-b-"},
      {"", "-", "\xC3\xA9", "-\xC3\xA9-"},
      {"x", "y", "abc", "abc"},
      {"[(?<n>]", "_", "a(b?c<d", "a_b_c_d"},
      {"^a", "b", "aaa", "baa"},
      {"\\ba", "b", "aa.a", "ba.b"},
  };
  for (const Row& row : rows) {
    INFO(row.pattern, " -> ", row.replacement, " on ", row.name);
    CHECK(renamed(row.pattern, row.replacement, row.name) == row.expected);
  }
}

TEST_CASE("remap: patterns are chained, each on the result of those before") {
  Remapping names;
  CHECK(names.empty());
  names.add("a", "b").add("b", "c");
  CHECK(!names.empty());
  CHECK(names("ab") == "cc");
}

TEST_CASE("remap: a pattern that does not compile is an error at once") {
  CHECK(thrown_by([] { Remapping().add("(", "x"); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([] { Remapping().add("(?=a)", "x"); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("remap: a checkpoint is shown under new names, its files untouched") {
  std::optional<Checkpoint> original = checkpoint_of({"module.a.w", "module.b.w"});
  const Checkpoint now = remap(*original, Remapping().add("^module\\.", ""));
  const std::uint64_t offset = original->tensor("module.b.w").offset();
  original.reset();
  CHECK(names_of(now) == std::vector<std::string>{"a.w", "b.w"});
  CHECK(!now.find("module.a.w"));
  const TensorView view = now.tensor("b.w");
  CHECK(view.name() == "b.w");
  CHECK(view.offset() == offset);
  CHECK(test::name_of(now.root()["a"]["w"].tensor()) == "a.w");
  CHECK(now.shards()[0].tensor_count == 2);
}

TEST_CASE("remap: a view under a new name outlives every checkpoint") {
  TensorView view;
  {
    const Checkpoint original = checkpoint_of({"old"});
    view = remap(original, Remapping().add("old", "new")).tensor("new");
  }
  CHECK(view.name() == "new");
  CHECK(view.as<std::uint8_t>().size() == 1);
}

TEST_CASE("remap: two keys that become one are refused, naming both") {
  const Checkpoint checkpoint = checkpoint_of({"a.w", "b.w"});
  const Error error = thrown_by([&] { return remap(checkpoint, Remapping().add("[ab]", "c")); });
  CHECK(error.code() == ErrorCode::ambiguous);
  CHECK(error.tensor() == "c.w");
  CHECK(error.message().find("'a.w' and 'b.w'") != std::string::npos);
}

TEST_CASE("remap: trace() shows what becomes of every key, collisions too") {
  const std::vector<Renamed> trace = Remapping().add("[ab]", "c").trace(checkpoint_of({"a.w", "b.w"}));
  REQUIRE(trace.size() == 2);
  CHECK(trace[0].now == "c.w");
  CHECK(trace[0].was == "a.w");
  CHECK(trace[1].was == "b.w");
}

TEST_CASE("remap: trace() shows keys that are no tensors too") {
  const test::TempFolder folder;
  test::TorchBuilder builder;
  builder.value("epoch", test::pickled_int(3)).tensor("net.w", "FloatStorage", {1}, "abcd");
  const std::vector<Renamed> trace = Remapping().add("^", "x.").trace(open(folder.write("m.pt", builder.build())));
  REQUIRE(trace.size() == 2);
  CHECK(trace[0].was == "net.w");
  CHECK(trace[1].was == "epoch");
  CHECK(trace[1].now == "x.epoch");
}

TEST_CASE("remap: lists with gaps are renumbered, each under its own prefix") {
  const Checkpoint checkpoint =
      checkpoint_of({"fc.0.w", "fc.2.w", "fc.4.w", "x.3.y.7.w", "x.3.y.10.w", "x.5.y.2.w", "9.w"});
  const Checkpoint now = remap(checkpoint, {}, Indices::contiguous);
  CHECK(names_of(now) ==
        std::vector<std::string>{"fc.0.w", "fc.1.w", "fc.2.w", "x.0.y.0.w", "x.0.y.1.w", "x.1.y.0.w", "9.w"});
  CHECK(now.root()["fc"].kind() == RecordKind::list);
  // Off for safetensors unless asked.
  CHECK(names_of(remap(checkpoint, {})) == names_of(checkpoint));
  CHECK(names_of(remap(checkpoint, {}, Indices::keep)) == names_of(checkpoint));
}

TEST_CASE("remap: prefixes can be exempt from renumbering") {
  const Checkpoint checkpoint = checkpoint_of({"layers.10.fc.2.w", "layers.20.fc.4.w"});
  CHECK(names_of(remap(checkpoint, {}, Indices::contiguous, {"layers"})) ==
        std::vector<std::string>{"layers.10.fc.0.w", "layers.20.fc.0.w"});
  CHECK(names_of(remap(checkpoint, {}, Indices::contiguous, {"re:.*"})) == names_of(checkpoint));
  CHECK(thrown_by([&] { return remap(checkpoint, {}, Indices::contiguous, {"["}); }).code() == ErrorCode::out_of_range);
  // Their numbers stay as they are spelled, and two spellings are two keys.
  const Checkpoint spelled = checkpoint_of({"layers.007.w", "layers.7.w"});
  CHECK(names_of(remap(spelled, {}, Indices::contiguous, {"layers"})) == names_of(spelled));
}

TEST_CASE("remap: leading zeros are read, and two spellings of one index collide") {
  CHECK(names_of(remap(checkpoint_of({"l.007", "l.01"}), {}, Indices::contiguous)) ==
        std::vector<std::string>{"l.1", "l.0"});
  const Checkpoint twice = checkpoint_of({"l.00", "l.0"});
  const Error error = thrown_by([&] { return remap(twice, {}, Indices::contiguous); });
  CHECK(error.code() == ErrorCode::ambiguous);
  CHECK(error.message().find("'l.00' and 'l.0'") != std::string::npos);
}

TEST_CASE("remap: lists of PyTorch's files are renumbered after the names, unless the caller disables it") {
  const test::TempFolder folder;
  test::TorchBuilder builder;
  for (const char* name : {"old.0.w", "old.2.w", "old.4.w"}) builder.tensor(name, "FloatStorage", {1}, "abcd");
  const Checkpoint checkpoint = open(folder.write("m.pt", builder.build()));
  CHECK(names_of(remap(checkpoint, {})) == std::vector<std::string>{"old.0.w", "old.1.w", "old.2.w"});
  CHECK(names_of(remap(checkpoint, {}, Indices::keep)) == std::vector<std::string>{"old.0.w", "old.2.w", "old.4.w"});
  CHECK(names_of(remap(checkpoint, Remapping().add("^old", "new"), Indices::by_format, {"new"})) ==
        std::vector<std::string>{"new.0.w", "new.2.w", "new.4.w"});
}
