// As allocations.cpp: structs, adapters and expressions.
#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "allocation_sweep.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;
using namespace heft::sweeps;

namespace fs = std::filesystem;

struct Sliced {
  Slice<float> slice;
  template <class Fields>
  void describe(Fields& f) {
    f("slice", slice);
  }
};

// A field of every other kind that bind() fills.
struct Everything {
  TensorView view;
  std::int64_t integer = 0;
  std::uint8_t natural = 0;
  double real = 0;
  bool flag = false;
  std::string text;
  std::vector<double> numbers;
  std::array<std::int64_t, 2> pair{};
  std::map<std::string, TensorView> by_name;
  std::variant<TensorView, std::string> either;
  Record rest;
  template <class Fields>
  void describe(Fields& f) {
    f("view", view).shape({2, 2}).dtype(DType::f32);
    f("integer", integer);
    f("natural", natural);
    f("real", real);
    f("flag", flag);
    f("text", text);
    f("numbers", numbers);
    f("pair", pair);
    f("by_name", by_name);
    f("either", either).untagged();
    f("rest", rest);
  }
};

// A PyTorch file that fills it.
std::string everything() {
  using namespace test::pickle;
  const std::string values = dict({text("one"), test::pickle::tensor("0", 4, 0, {2}, {1})});
  return torch_file(
      dict({text("view"),    test::pickle::tensor("0", 4, 0, {2, 2}, {2, 1}),
            text("integer"), integer(-3),
            text("natural"), integer(200),
            text("real"),    "G\x3f\xe0" + std::string(6, '\0'),
            text("flag"),    "\x88",
            text("text"),    text("a text that is longer than a short one"),
            text("numbers"), list({"G\x3f\xe0" + std::string(6, '\0'), "G\x3f\xf0" + std::string(6, '\0')}),
            text("pair"),    list({integer(1), integer(2)}),
            text("by_name"), values,
            text("either"),  text("a second text of more than a few bytes"),
            text("rest"),    values}),
      {std::string(16, 'x')});
}

}  // namespace

TEST_CASE("allocations: structs of every kind of field, bound and written") {
  const test::TempFolder folder;
  const fs::path path = folder.write("everything.pt", everything());
  const Checkpoint checkpoint = open(path);
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  Tally tally("structs");
  tally.add("bind(checkpoint)", [&] {
    Everything all;
    static_cast<void>(bind(checkpoint, all));
  });
  const Checkpoint sliced = open(folder.write(
      "sliced.safetensors", test::SafetensorsBuilder().align(64).add("slice", "F32", {4}, test::pattern(16)).build()));
  tally.add("bind() to a slice", [&] {
    Sliced one;
    static_cast<void>(bind(sliced, one));
  });
  tally.add("bind(), strict and by default", [&] {
    Everything all;
    static_cast<void>(try_bind(checkpoint.root(), all, {.strict = Strict::yes, .missing = Missing::use_default}));
  });
  tally.add("bind(), gaps closed", [&] {
    Network network;
    static_cast<void>(bind(small.root()["model"], network, {.gaps = Gaps::close}));
  });
  tally.add("try_bind() of what does not fit, its report", [&] {
    Everything all;
    const BindReport report = try_bind(small.root(), all);
    if (report.ok() || report.to_string().empty()) throw std::logic_error("a report without errors");
  });
  tally.add(
      "bind() of what does not fit",
      [&] {
        Everything all;
        static_cast<void>(bind(small, all));
      },
      outcome([&] {
        Everything all;
        static_cast<void>(bind(small, all));
      }));
  Everything all;
  static_cast<void>(bind(checkpoint, all));
  tally.add("fields_of()", [&] { static_cast<void>(fields_of(all, "prefix")); });
}

TEST_CASE("allocations: adapters and filters") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  Tally tally("adapters");
  tally.add("modules and their adapters", [&] {
    ModuleKinds modules;
    modules.add("model.layers.*.up", ModuleKind::linear).add("*.norm", ModuleKind::layer_norm);
    const Adapter adapter =
        chain(pytorch_to_row_major_linear(modules), half_precision({.patterns = {"*.up.*"}, .modules = modules}));
    static_cast<void>(adapt(small, chain(adapter, cast_floats(DType::f32))).tensors().size());
  });
  tally.add("filters", [&] {
    const Filter filter = Filter().matching("model.*.weight").named("eight_dims").where([](const TensorView& view) {
      return view.rank() != 0;
    });
    static_cast<void>(adapt(small, [](TensorView view) { return view; }, filter).root());
  });
  tally.add(
      "a pattern that does not compile", [&] { static_cast<void>(Filter().matching("{a")); },
      expected(ErrorCode::out_of_range));
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool lost_blocks_end_the_test = true;
#else
constexpr bool lost_blocks_end_the_test = false;
#endif

TEST_CASE("allocations: expressions, whose compiler loses blocks of its own") {
  if (lost_blocks_end_the_test) return test::skip("RE2 loses blocks when it runs out of memory");
  // RE2 uses std::call_once, through which glibc lets the first exception only where it can load libgcc_s.
  std::once_flag once;
  CHECK_THROWS_AS(std::call_once(once, [] { throw std::bad_alloc(); }), std::bad_alloc);
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  Tally tally("expressions");
  const auto add = [&](const std::string& name, const std::function<void()>& call, int comes_to = done) {
    tally.add(name, call, comes_to, Blocks::may_be_lost);
  };
  add("re: names", [&] { static_cast<void>(small.tensors("re:model.*[0-9]+[.](norm|up).*").size()); });
  add(
      "re: that does not compile", [&] { static_cast<void>(small.tensors("re:(")); },
      expected(ErrorCode::out_of_range));
  add("re: of a filter", [&] { static_cast<void>(Filter().matching("re:.*norm.*")(small.tensor("eight_dims"))); });
  add("re: of modules", [&] {
    static_cast<void>(ModuleKinds().add("re:.*up", ModuleKind::linear).of_parameter("model.layers.0.up.weight"));
  });
  add("rules", [&] {
    static_cast<void>(
        Remapping().add("^model[.](?<rest>.*)$", "$rest").add("norm", "ln")("model.layers.0.norm.weight"));
  });
  add(
      "a rule that does not compile", [&] { static_cast<void>(Remapping().add("(", "")); },
      expected(ErrorCode::out_of_range));
  const Remapping names = Remapping().add("^model[.]", "").add("norm", "ln");
  add("trace", [&] { static_cast<void>(names.trace(small)); });
  add("remap", [&] { static_cast<void>(remap(small, names, Indices::contiguous, {"re:layers"}).root()); });
}
