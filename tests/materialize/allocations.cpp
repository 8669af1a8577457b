// Every public call when memory runs out at its n-th allocation, once or from then on: std::bad_alloc or
// Error{out_of_memory}, nothing lost, and the same call succeeds afterwards.
#include <dirent.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "heft/heft.hpp"
#include "support/dcp_builder.hpp"
#include "support/destinations.hpp"
#include "support/failing_allocations.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/sources.hpp"
#include "support/temp_folder.hpp"
#include "support/torch_builder.hpp"

namespace {

using namespace heft;
using test::FailingAllocations;

namespace fs = std::filesystem;

// What a call came to. Codes of Error count from 1 on.
constexpr int done = 0;
constexpr int no_memory = -1;
constexpr int other_exception = -2;

// Catches without allocating.
template <class Call>
int outcome(const Call& call) noexcept {
  try {
    call();
    return done;
  } catch (const Error& error) {
    return error.code() == ErrorCode::out_of_memory ? no_memory : 1 + static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    return no_memory;
  } catch (...) {
    return other_exception;
  }
}

std::size_t open_descriptors() {
  DIR* const folder = ::opendir("/proc/self/fd");
  std::size_t count = 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

struct Counts {
  std::uint64_t allocations = 0;  // of the call when nothing fails
  std::uint64_t failed = 0;       // calls in which an allocation failed
  std::uint64_t refused = 0;      // of those: bad_alloc or out_of_memory
  std::uint64_t absorbed = 0;     // of those: came to what they come to otherwise
};

// For the terminate handler, which has no memory to say it with.
std::array<char, 120> current_call{};
std::uint64_t current_number = 0;

[[noreturn]] void tell_and_abort() {
  std::fprintf(stderr, "terminated: '%s', allocation %llu\n", current_call.data(),
               static_cast<unsigned long long>(current_number));
  std::abort();
}

struct Failed {
  int came_to = done;
  bool any = false;
  std::int64_t lost_blocks = 0;
  std::int64_t lost_mappings = 0;
};

Failed failed(const std::function<void()>& call, std::uint64_t number, std::uint64_t times) {
  Failed result{.lost_blocks = -test::live_blocks(), .lost_mappings = -test::live_mappings()};
  {
    const FailingAllocations memory(number, times);
    result.came_to = outcome(call);
    result.any = memory.failed() > 0;
  }
  result.lost_blocks += test::live_blocks();
  result.lost_mappings += test::live_mappings();
  return result;
}

// What a sweep asks of blocks: that none is lost, or, of a library's that loses some, nothing.
enum class Blocks : std::uint8_t { kept, may_be_lost };

void sweep_one(const std::function<void()>& call, int expected, std::uint64_t number, std::uint64_t times,
               Counts& counts, Blocks blocks) {
  current_number = number;
  CAPTURE(number);
  CAPTURE(times);
  Failed result = failed(call, number, times);
  // The unwinder, and the test framework, may have kept something for good on the first way through here.
  if (result.lost_blocks != 0) result = failed(call, number, times);
  CHECK((result.came_to == expected || result.came_to == no_memory));
  if (blocks == Blocks::kept) CHECK(result.lost_blocks == 0);
  CHECK(result.lost_mappings == 0);
  if (times != 1) CHECK(outcome(call) == expected);
  if (!result.any) return;
  ++counts.failed;
  ++(result.came_to == no_memory ? counts.refused : counts.absorbed);
}

// Fails each allocation of `call`, which comes to `expected` when none fails.
Counts sweep(const std::string& name, const std::function<void()>& call, int expected = done,
             Blocks blocks = Blocks::kept) {
  CAPTURE(name);
  std::snprintf(current_call.data(), current_call.size(), "%s", name.c_str());
  const std::terminate_handler before = std::set_terminate(tell_and_abort);
  // What is made once and stays, is there after the first calls.
  for (int i = 0; i < 2; ++i) REQUIRE(outcome(call) == expected);
  const std::size_t descriptors = open_descriptors();
  Counts counts;
  {
    const FailingAllocations none(FailingAllocations::for_ever, 0);
    static_cast<void>(outcome(call));
    counts.allocations = none.asked();
  }
  for (std::uint64_t number = 0; number < counts.allocations; ++number)
    // For ever first: no exception has passed yet, and what lets one through for the first time has no memory either.
    for (const std::uint64_t times : {FailingAllocations::for_ever, std::uint64_t{1}})
      sweep_one(call, expected, number, times, counts, blocks);
  CHECK(open_descriptors() == descriptors);
  std::set_terminate(before);
  return counts;
}

// The counts of several sweeps, told when it dies.
class Tally {
 public:
  explicit Tally(std::string what) : what_(std::move(what)) {}
  ~Tally() {
    CHECK(sum_.failed > 0);
    MESSAGE(what_, ": ", calls_, " calls, ", sum_.allocations, " allocations; failed ", sum_.failed, ": refused ",
            sum_.refused, ", absorbed ", sum_.absorbed);
  }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  void add(const std::string& name, const std::function<void()>& call, int expected = done,
           Blocks blocks = Blocks::kept) {
    const Counts counts = sweep(name, call, expected, blocks);
    ++calls_;
    sum_.allocations += counts.allocations;
    sum_.failed += counts.failed;
    sum_.refused += counts.refused;
    sum_.absorbed += counts.absorbed;
  }

 private:
  std::string what_;
  std::uint64_t calls_ = 0;
  Counts sum_;
};

constexpr int expected(ErrorCode code) { return 1 + static_cast<int>(code); }

// Small tensors of every kind of name and rank, and metadata.
std::string small_model() {
  test::SafetensorsBuilder file;
  for (int layer = 0; layer < 3; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(2 * layer) + ".";
    file.add(prefix + "norm.weight", "F32", {2}, test::pattern(8));
    file.add(prefix + "up.weight", "BF16", {4, 2}, test::pattern(16));
  }
  file.add("eight_dims", "F32", {1, 2, 1, 2, 1, 2, 1, 2}, test::pattern(64));
  file.metadata("format", "pt").metadata("steps", "12");
  return file.build();
}

// Enough for two threads: large tensors and small ones.
std::string large_model() {
  test::SafetensorsBuilder file;
  file.align(4096);
  for (int i = 0; i < 4; ++i)
    file.add("large." + std::to_string(i), "BF16", {1024, 1024},
             test::pattern(2u << 20, static_cast<std::uint32_t>(i)));
  for (int i = 0; i < 20; ++i) file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2));
  return file.build();
}

// Some of it converted, a part of one tensor transposed.
LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) {
    if (view.name() == "large.1")
      plan.add(view.slice(0, 0, 64).transpose(0, 1));
    else
      plan.add(view, view.name().starts_with("small") ? DType::f32 : view.dtype());
  }
  return plan;
}

// Device memory that keeps nothing.
class Sink final : public Destination {
 public:
  [[nodiscard]] Requirements requirements() const noexcept override { return {.kind = Kind::device}; }
  [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec>) const override { return 0; }
  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override {
    return std::make_unique<Nothing>(tensors);
  }

 private:
  class Nothing final : public Allocation {
   public:
    explicit Nothing(std::span<const TensorSpec> tensors) : places_(tensors.size()) {
      std::uint64_t end = 0;
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        places_[i] = {.device_type = 2, .byte_offset = end};
        end += (tensors[i].size_bytes + 63) / 64 * 64;
      }
    }
    [[nodiscard]] std::span<const Placement> placements() const noexcept override { return places_; }
    void write_async(const WriteRequest&, Completion completion) override { completion.succeed(); }
    [[nodiscard]] std::shared_ptr<const void> finish() override { return nullptr; }

   private:
    std::vector<Placement> places_;
  };
};

struct Layer {
  TensorView norm;
  std::optional<TensorView> bias;
  template <class Fields>
  void describe(Fields& f) {
    f("norm.weight", norm).alias("gamma").alias("scale.of.the.norm.under.a.name.that.is.long");
    f("bias", bias);
  }
};

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

struct Network {
  std::vector<Layer> layers;
  std::int64_t steps = 0;
  template <class Fields>
  void describe(Fields& f) {
    f("layers", layers);
    f("steps", steps).default_value(-1);
  }
};

void walk(const Record& record) {
  for (std::size_t i = 0; i < record.size(); ++i) {
    static_cast<void>(record.key(i));
    walk(record.child(i));
  }
}

// What every public header declares, and where it is swept, or why it is not.
struct Header {
  const char* file;
  const char* calls;
};
constexpr Header headers[] = {
    {"adapter.hpp", "adapters and filters"},
    {"bind.hpp", "structs: bind(), try_bind(), fields_of()"},
    {"bind_log.hpp", "structs: what bind() calls"},
    {"bind_options.hpp", "values only"},
    {"bind_report.hpp", "structs: to_string()"},
    {"bindable.hpp", "concepts only"},
    {"bytes.hpp", "values: copy_of(); the rest shares an owner"},
    {"checkpoint.hpp", "opening; records and views; freshness(); checksums"},
    {"completion.hpp", "allocates nothing but the Error of one that is dropped"},
    {"destination.hpp", "materialize: one in host memory and one on a device; the caller's own code otherwise"},
    {"dtype.hpp", "allocates nothing but the text of an Error: element_bytes() in values"},
    {"element.hpp", "allocates nothing: values and constants"},
    {"error.hpp", "values: with_path(), with_tensor()"},
    {"export.hpp", "a macro only"},
    {"field.hpp", "structs: what describe() calls"},
    {"field_reader.hpp", "structs: what bind() calls"},
    {"field_writer.hpp", "structs: what fields_of() and save() call"},
    {"heft.hpp", "includes the others"},
    {"index_iterator.hpp", "allocates nothing: the elements are made by the range"},
    {"limits.hpp", "values only"},
    {"load_stats.hpp", "materialize, stream: LoadStats is made by each; names of enumerators allocate nothing"},
    {"materialize.hpp", "materialize"},
    {"plan.hpp", "plans"},
    {"read_options.hpp", "values only"},
    {"record.hpp", "records and views; numbers()"},
    {"remap.hpp",
     "remap() by Indices; the rules of a Remapping, and 're:' patterns, in expressions: they are RE2's, which loses "
     "blocks "
     "when an allocation throws, so that those are not counted there"},
    {"save.hpp", "saving"},
    {"shape.hpp", "values: more dims than lie inline"},
    {"slice.hpp", "allocates nothing: a Slice shares an owner; as<T>() in records and views"},
    {"source.hpp", "the caller's own code; what read() of one allocates is opening's"},
    {"storage.hpp", "opening: folder_storage(); the caller's own code otherwise"},
    {"stream.hpp", "stream"},
    {"tensor.hpp", "tensors"},
    {"tensor_view.hpp", "records and views; pieces"},
    {"weights.hpp", "tensors"},
    {"workers.hpp", "workers"},
};

}  // namespace

TEST_CASE("allocations: each public header has its calls swept, or a reason why not") {
  std::vector<std::string> there;
  for (const auto& entry : fs::directory_iterator(test::source_root() / "include/heft"))
    if (entry.path().extension() == ".hpp") there.push_back(entry.path().filename().string());
  std::ranges::sort(there);
  std::vector<std::string> listed;
  for (const Header& header : headers) listed.emplace_back(header.file);
  CHECK(there == listed);
}

TEST_CASE("allocations: values: bytes, shapes and errors") {
  Tally tally("values");
  const std::vector<std::int64_t> many(12, 1);
  const std::array<std::byte, 100> some{};
  tally.add("Bytes::copy_of", [&] { static_cast<void>(Bytes::copy_of(some).subrange(10, 20)); });
  tally.add(
      "Bytes::subrange beyond", [&] { static_cast<void>(Bytes(some, nullptr).subrange(90, 20)); },
      expected(ErrorCode::out_of_range));
  tally.add("Shape", [&] {
    Shape shape{std::span<const std::int64_t>(many)};
    Shape copy = shape;
    copy = shape;
    static_cast<void>(Strides::contiguous(copy) == Strides::contiguous(shape));
    static_cast<void>(to_string(shape) + to_string(copy));
    static_cast<void>(bytes_for(DType::f32, shape));
  });
  tally.add(
      "element_bytes of a block", [&] { static_cast<void>(element_bytes(DType::q4_k)); },
      outcome([] { static_cast<void>(element_bytes(DType::q4_k)); }));
  tally.add(
      "Error",
      [&] {
        const Error error(ErrorCode::io, "a message that is longer than a short text", {.offset = 7, .os_error = 5});
        throw error.with_path("/a/path/that/is/longer/than/a/short/text")
            .with_tensor("a.name.that.is.longer.than.a.short.text");
      },
      expected(ErrorCode::io));
}

TEST_CASE("allocations: freshness of a file, a folder, and what was replaced or is gone") {
  const test::TempFolder folder;
  const Checkpoint one = open(folder.write("small.safetensors", small_model()));
  fs::create_directory(folder.path() / "shards");
  static_cast<void>(save(one, folder.path() / "shards", {.shard_bytes = 20}));
  const Checkpoint shards = open(folder.path() / "shards");
  const Checkpoint replaced = open(folder.write("replaced.safetensors", small_model()));
  fs::rename(folder.write("other.safetensors", small_model()), folder.path() / "replaced.safetensors");
  const Checkpoint gone = open(folder.write("gone.safetensors", small_model()));
  fs::remove(folder.path() / "gone.safetensors");
  Tally tally("freshness");
  const auto is = [](const Checkpoint& checkpoint, Freshness freshness) {
    return [&checkpoint, freshness] {
      if (checkpoint.freshness() != freshness) throw std::logic_error("another freshness");
    };
  };
  tally.add("opened now", [&] {
    if (open(folder.path() / "shards").freshness() != Freshness::same) throw std::logic_error("another freshness");
  });
  tally.add("same", is(one, Freshness::same));
  tally.add("same, of shards", is(shards, Freshness::same));
  tally.add("replaced", is(replaced, Freshness::replaced));
  tally.add("gone", is(gone, Freshness::gone));
}

TEST_CASE("allocations: lists of numbers, of every format that has them") {
  const test::TempFolder folder;
  std::string numbers;
  for (int i = 0; i < 100; ++i) numbers += test::pickle::integer(i);
  const fs::path torch = folder.write(
      "lists.pt", test::pickle::torch_file(test::pickle::dict({test::pickle::text("list"), "](" + numbers + "e"})));
  std::vector<std::string> items;
  for (int i = 0; i < 100; ++i) items.push_back(test::pack::real32(0.5F));
  namespace pack = test::pack;
  const std::string record = pack::map({pack::text("metadata"), pack::map({pack::text("float"), pack::text("f32")}),
                                        pack::text("item"), pack::map({pack::text("list"), pack::list(items)})});
  const fs::path burn = folder.write("lists.mpk", record);
  Tally tally("numbers");
  for (const fs::path& path : {torch, burn}) {
    const Checkpoint checkpoint = open(path);
    const Record list = checkpoint.root()["list"];
    tally.add(
        "numbers()", [&] { static_cast<void>(list.numbers().read<float>(0)); },
        outcome([&] { static_cast<void>(list.numbers().read<float>(0)); }));
    tally.add("numbers(), materialized", [&] { static_cast<void>(materialize(list.numbers())); });
    tally.add("open, numbers()", [&] { static_cast<void>(open(path).root()["list"].numbers().size_bytes()); });
    tally.add("each number", [&] { walk(list); });
    tally.add("a path", [&] { static_cast<void>(list.child(3).path()); });
  }
  const Checkpoint checkpoint = open(torch);
  tally.add("no list", [&] { static_cast<void>(checkpoint.root().numbers()); }, expected(ErrorCode::type_mismatch));
}

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

TEST_CASE("allocations: plans, tensors in pieces, and what a load makes") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const std::vector<TensorView> both = {small.tensor("model.layers.0.up.weight"),
                                        small.tensor("model.layers.2.up.weight")};
  const auto joined = [&] {
    return TensorView::over_pieces("joined", Shape{8, 2}, {{both[0], Dims(2, 0)}, {both[1], Shape{4, 0}}});
  };
  Tally tally("plans");
  tally.add("concat(), stack(), a copy", [&] {
    LoadPlan plan;
    plan.add(concat("concat", both, 0));
    plan.add(stack("stack", both, 1), DType::f32);
    plan.add(joined());
    const LoadPlan copy = plan;
    static_cast<void>(copy.estimate({.threads = 2}).host_bytes + copy.estimate().bytes_read);
    static_cast<void>(materialize(copy));
  });
  tally.add("pieces", [&] {
    const TensorView whole = joined();
    static_cast<void>(materialize(whole.slice(0, 2, 6).renamed("part")));
  });
  tally.add("views over memory", [&] {
    const std::array<float, 6> numbers{1, 2, 3, 4, 5, 6};
    const TensorView view =
        TensorView::over("mine", DType::f32, Shape{2, 3}, Bytes::copy_of(std::as_bytes(std::span(numbers))));
    static_cast<void>(view.cast_on_load(DType::f16).shares_storage_with(view));
    static_cast<void>(view.as<float>()[5]);
  });
  std::array<std::byte, 64> there{};
  tally.add("into memory that is there", [&] {
    LoadPlan plan;
    plan.add(both[0], DType::f32, there);
    static_cast<void>(materialize(plan));
  });
  tally.add("into a destination in host memory", [&] {
    LoadPlan plan;
    plan.add(both[0]);
    static_cast<void>(materialize(plan, {.destination = std::make_shared<test::HostDestination>()}));
  });
  tally.add("one view", [&] { static_cast<void>(materialize(both[0]).slice<bf16>()[0]); });
  LoadPlan plan;
  for (const TensorView& view : both) plan.add(view);
  const Weights weights = materialize(plan);
  tally.add("tensors", [&] {
    const Tensor tensor = weights["model.layers.0.up.weight"];
    static_cast<void>(tensor.view().renamed("again").as<bf16>()[0]);
    if (weights.find("nothing") != nullptr) throw std::logic_error("found nothing");
  });
  tally.add(
      "a tensor that was not loaded", [&] { static_cast<void>(weights["model.layers.0.up.weigth"]); },
      expected(ErrorCode::not_found));
  tally.add("a stream's figures", [&] {
    TensorStream tensors = stream(plan);
    while (tensors.next()) {
    }
    static_cast<void>(tensors.stats());
  });
}

TEST_CASE("allocations: opening a file of any format, good or bad, fails with out of memory and nothing else") {
  const test::TempFolder folder;
  Tally tally("open");
  for (const char* format : {"safetensors", "zip", "legacy", "pickle", "tar", "gguf", "npy", "npz", "ctranslate2",
                             "msgpack", "burnpack", "index_json"}) {
    std::size_t count = 0;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(test::source_root() / "tests/fuzz/corpus" / format))
      files.push_back(entry.path());
    std::ranges::sort(files);
    for (const fs::path& file : files) {
      if (++count > 12) break;
      const fs::path path = folder.write(file.filename().string(), test::content_of(file));
      const auto call = [&] { static_cast<void>(open(path)); };
      tally.add(std::string(format) + "/" + file.filename().string(), call, outcome(call));
    }
  }
}

TEST_CASE("allocations: opening shards, folders and parts") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  fs::create_directory(folder.path() / "shards");
  static_cast<void>(save(small, folder.path() / "shards", {.shard_bytes = 20}));
  Tally tally("open shards");
  tally.add("a folder of shards", [&] { static_cast<void>(open(folder.path() / "shards")); });
  const auto storage = folder_storage(folder.path() / "shards");
  tally.add("a storage", [&] {
    const Checkpoint checkpoint = open(folder_storage(folder.path() / "shards"), "");
    if (checkpoint.freshness() != Freshness::same) throw std::logic_error("another freshness");
    static_cast<void>(storage->list());
  });
  const std::string whole = test::content_of(folder.path() / "small.safetensors");
  tally.add("bytes", [&] { static_cast<void>(open(Bytes(std::as_bytes(std::span(whole)), nullptr))); });
  const auto map = std::make_shared<test::MapStorage>();
  map->add("m.safetensors", whole);
  map->opened.reserve(1u << 16);  // which records calls, and is not to allocate
  tally.add("a storage of the caller's, and a load of requests", [&] {
    const Checkpoint checkpoint = open(map, "m.safetensors");
    LoadPlan plan;
    for (const TensorView& tensor : checkpoint.tensors()) plan.add(tensor);
    static_cast<void>(materialize(plan));
  });
  tally.add("an index", [&] { static_cast<void>(open(folder.path() / "shards/model.safetensors.index.json")); });
  tally.add("nothing", [&] { static_cast<void>(open(folder.path() / "nothing")); }, expected(ErrorCode::not_found));
  const std::string torch = test::TorchBuilder()
                                .tensor("w", "FloatStorage", {8, 8}, test::pattern(256))
                                .value("step", test::pickled_int(3))
                                .build();
  const fs::path path = folder.write("model.pt", torch);
  tally.add("a PyTorch file", [&] { static_cast<void>(open(path)); });
  test::DcpBuilder()
      .tensor("w", {2, 2})
      .chunk({0, 0}, {1, 2}, std::string(8, 'a'))
      .chunk({1, 0}, {1, 2}, std::string(8, 'b'))
      .value("step", "K\x01")
      .write(folder, "distributed");
  tally.add("a distributed checkpoint", [&] { walk(open(folder.path() / "distributed").root()); });
  folder.write("hub/models--acme--tiny/snapshots/aaaa/model.safetensors", small_model());
  folder.write("hub/models--acme--tiny/refs/main", "aaaa");
  tally.add("a hub's cache", [&] { static_cast<void>(open("acme/tiny", {.hub_cache = folder.path() / "hub"})); });
  tally.add(
      "a PyTorch file, by a key",
      [&] { static_cast<void>(open(path, {.torch = {.top_level_key = "w", .strict_globals = true}})); },
      outcome([&] { static_cast<void>(open(path, {.torch = {.top_level_key = "w", .strict_globals = true}})); }));
  tally.add("a PyTorch file, read", [&] { static_cast<void>(open(path, {.access = Access::read})); });
}

TEST_CASE("allocations: records, names, metadata, views and plans") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const fs::path path = folder.path() / "small.safetensors";
  Tally tally("records and views");
  tally.add("tree", [&] { walk(open(path).root()); });
  tally.add("lookups",
            [&] { static_cast<void>(small.root()["model"]["layers"][0]["norm"]["weight"].tensor().as<float>()); });
  tally.add(
      "a key that is not there", [&] { static_cast<void>(small.root()["model"]["layer"]); },
      expected(ErrorCode::not_found));
  tally.add("metadata", [&] { walk(open(path).metadata()); });
  tally.add("tensor", [&] { static_cast<void>(small.tensor("eight_dims")); });
  tally.add("find", [&] { static_cast<void>(small.find("eight_dims")); });
  tally.add(
      "a tensor that is not there", [&] { static_cast<void>(small.tensor("model.layers.0.norm.weigth")); },
      expected(ErrorCode::not_found));
  tally.add("glob", [&] {
    for (const TensorView& view : small.tensors("model.layers.{0,[1-9]}.*.?eight")) static_cast<void>(view.bytes());
  });
  tally.add(
      "a glob that does not compile", [&] { static_cast<void>(small.tensors("{a")); },
      expected(ErrorCode::out_of_range));
  tally.add("renumbered", [&] { static_cast<void>(remap(small, {}, Indices::contiguous, {"none.*"}).root()); });
  tally.add("views", [&] {
    const TensorView view = small.tensor("eight_dims");
    static_cast<void>(view.transpose(1, 3).slice(1, 0, 1).renamed("another name that is not short"));
    static_cast<void>(view.reshape(Shape{2, 1, 2, 1, 2, 1, 2}).read<float>(0, 0, 1, 0, 1, 0, 1));
    static_cast<void>(view.shard(1, 1, 2).size_bytes());
  });
  tally.add("checksums", [&] { static_cast<void>(small.verify_checksums()); });
  tally.add("totals", [&] { static_cast<void>(open(path).root().tensor_bytes()); });
  tally.add("paths", [&] { static_cast<void>(small.root()["model"]["layers"][0]["norm"].path()); });
  tally.add("plan", [&] {
    const LoadPlan plan = plan_of(small);
    static_cast<void>(plan.estimate().host_bytes);
  });
  const Record root = remap(small, {}, Indices::contiguous).root()["model"];
  tally.add("bind", [&] {
    Network network;
    static_cast<void>(bind(root, network));
  });
}

TEST_CASE("allocations: materialize on every path, into every kind of memory, with one thread and more") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  const Checkpoint unmapped = open(folder.path() / "large.safetensors", {.access = Access::read});
  Tally tally("materialize");
  for (const unsigned threads : {1u, 3u}) {
    for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read}) {
      const std::string what = std::string(name(path)) + ", " + std::to_string(threads) + " threads";
      tally.add(what, [&] {
        static_cast<void>(
            materialize(plan_of(large), {.threads = threads, .io_method = path, .drop_page_cache = threads == 1}));
      });
      if (path == IoMethod::map) continue;
      tally.add(what + ", far", [&] {
        static_cast<void>(materialize(
            plan_of(large), {.threads = threads, .io_method = path, .destination = std::make_shared<Sink>()}));
      });
    }
    tally.add("unmapped", [&] { static_cast<void>(materialize(plan_of(unmapped), {.threads = threads})); });
  }
}

TEST_CASE("allocations: threads that are kept, and loads on them") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  Tally tally("workers");
  tally.add("made", [] { static_cast<void>(Workers(2).threads()); });
  const auto workers = std::make_shared<Workers>(1);
  tally.add("a load", [&] { static_cast<void>(materialize(plan_of(large), {.threads = 2, .workers = workers})); });
  tally.add("a stream", [&] {
    std::size_t count = 0;
    for (const Tensor& tensor :
         stream(plan_of(large), {.threads = 2, .workers = workers}, {.in_flight_bytes = 4u << 20}))
      count += tensor.size_bytes() != 0;
    if (count != 24) throw std::logic_error("a stream that is short");
  });
}

TEST_CASE("allocations: a stream, whole or left early") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  Tally tally("stream");
  for (const unsigned threads : {1u, 2u}) {
    tally.add("whole", [&] {
      std::size_t count = 0;
      for (const Tensor& tensor : stream(plan_of(large), {.threads = threads}, {.in_flight_bytes = 4u << 20}))
        count += tensor.size_bytes() != 0;
      if (count != 24) throw std::logic_error("a stream that is short");
    });
    tally.add("left early", [&] {
      static_cast<void>(stream(plan_of(large), {.threads = threads}, {.in_flight_bytes = 4u << 20}).next());
    });
  }
}

TEST_CASE("allocations: inflated records") {
  const test::TempFolder folder;
  const fs::path path = folder.write(
      "deflated.pt",
      test::TorchBuilder().tensor("w", "FloatStorage", {64, 64}, test::pattern(64 * 64 * 4)).deflate().build());
  Tally tally("inflated");
  tally.add("bytes", [&] { static_cast<void>(open(path).tensor("w").bytes()); });
  tally.add("materialize", [&] { static_cast<void>(materialize(open(path).tensor("w"), DType::f16)); });
  tally.add("checksums", [&] { static_cast<void>(open(path).verify_checksums()); });
}

TEST_CASE("allocations: saving in every format leaves the old file or the new one, and nothing else") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const std::vector<SaveItem> items = [&] {
    std::vector<SaveItem> wanted;
    for (const TensorView& view : small.tensors("model.*")) wanted.emplace_back(view, DType::f32);
    return wanted;
  }();
  Tally tally("save");
  for (const char* file : {"model.safetensors", "model.npz", "model.gguf"}) {
    fs::create_directory(folder.path() / "out");
    const fs::path path = folder.path() / "out" / file;
    static_cast<void>(save(items, path));
    tally.add(file, [&] { static_cast<void>(save(items, path)); });
    CHECK(std::distance(fs::directory_iterator(folder.path() / "out"), fs::directory_iterator()) == 1);
    CHECK(open(path).tensors().size() == items.size());
    fs::remove_all(folder.path() / "out");
  }
  fs::create_directory(folder.path() / "out");
  tally.add("shards", [&] { static_cast<void>(save(small, folder.path() / "out", {.shard_bytes = 40})); });
  CHECK(open(folder.path() / "out").tensors().size() == small.tensors().size());
  tally.add("a record", [&] { static_cast<void>(save(small.root()["model"], folder.path() / "record.safetensors")); });
  Network network;
  static_cast<void>(bind(remap(small, {}, Indices::contiguous).root()["model"], network));
  tally.add("a struct", [&] { static_cast<void>(save(network, folder.path() / "struct.safetensors")); });
  tally.add("weights", [&] {
    LoadPlan plan;
    for (const SaveItem& item : items) plan.add(item.view, item.dtype);
    static_cast<void>(save(materialize(plan), folder.path() / "weights.safetensors"));
  });
}
