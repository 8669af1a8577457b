#include "heft/materialize.hpp"

#include <doctest/doctest.h>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "materialize/thread_pool.hpp"
#include "support/fixtures.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

std::string numbers(std::size_t count, int scale) {
  std::vector<bf16> values;
  for (std::size_t i = 0; i < count; ++i)
    values.emplace_back(static_cast<float>(static_cast<int>(i * 2654435761u >> 20) % 509 - 254) *
                        static_cast<float>(scale));
  return test::packed(values);
}

// Some MB of tensors: large ones, many small ones, odd sizes.
std::string model() {
  test::SafetensorsBuilder file;
  file.add("wide", "BF16", {300, 5000}, numbers(300 * 5000, 1));
  for (int i = 0; i < 400; ++i) file.add("small." + std::to_string(i), "BF16", {7, 31}, numbers(7 * 31, i));
  file.add("deep", "BF16", {3, 401, 1111}, numbers(3 * 401 * 1111, 3));
  file.add("odd", "U8", {3}, "abc");
  file.add("long", "F32", {1'500'001}, test::pattern(1'500'001 * 4));
  file.add("none", "F32", {0, 5}, "");
  file.add("one", "F32", {}, test::packed(std::vector{2.5F}));
  return file.build();
}

// The elements of a view one by one, as floats.
std::vector<float> elements(const TensorView& view) {
  std::vector<float> values(view.element_count());
  const Strides steps = Strides::contiguous(view.shape());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t at[3] = {0, 0, 0};
    std::int64_t rest = static_cast<std::int64_t>(i);
    for (std::size_t dim = 0; dim < view.rank(); ++dim) at[dim] = rest / steps[dim], rest %= steps[dim];
    const bf16 value = view.rank() == 1   ? view.read<bf16>(at[0])
                       : view.rank() == 2 ? view.read<bf16>(at[0], at[1])
                                          : view.read<bf16>(at[0], at[1], at[2]);
    values[i] = static_cast<float>(value);
  }
  return values;
}

void check_bytes(const TensorView& view, const Tensor& tensor) {
  INFO(tensor.name());
  const Bytes expected = view.bytes();
  REQUIRE(tensor.bytes().size() == expected.size_bytes());
  CHECK(std::ranges::equal(tensor.bytes(), expected.span()));
}

unsigned threads_of(const LoadPlan& plan, unsigned asked) {
  const Weights weights = materialize(plan, {.threads = asked});
  return weights.stats().threads;
}

std::uint64_t sum_of(const std::vector<IoUse>& paths) {
  return std::accumulate(paths.begin(), paths.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const IoUse& use) { return sum + use.bytes; });
}

}  // namespace

TEST_CASE("materialize: elements that repeat are made up to a limit, and beyond it only into the caller's buffer") {
  const test::TempFolder folder;
  const auto expanded = [&](std::int64_t count) {
    using namespace test::pickle;
    const std::string size = tuple({"\x8a\x08" + test::little(static_cast<std::uint64_t>(count), 8)});
    const std::string object = call("torch._utils", "_rebuild_tensor_v2",
                                    {storage("ByteStorage", "0", 1), integer(0), size, integers({0}), "\x89", "N"});
    return open(folder.write("m.pt", torch_file(object, {"x"}))).tensor("tensor");
  };
  CHECK(materialize(expanded(1000)).size_bytes() == 1000);
  const std::int64_t terabyte = std::int64_t{1} << 40;
  LoadPlan plan;
  const Error error = test::thrown_by([&] { plan.add(expanded(terabyte)); });
  CHECK(error.code() == ErrorCode::limit_exceeded);
  CHECK(error.message().find("Limits::repeated_bytes") != std::string::npos);
  CHECK(test::thrown_by([&] { return materialize(expanded(terabyte)); }).code() == ErrorCode::limit_exceeded);
  CHECK(test::thrown_by([&] { plan.add(expanded(terabyte), DType::u8, {}); }).code() == ErrorCode::out_of_range);
  const std::vector<TensorView> both{expanded(terabyte), expanded(terabyte)};
  CHECK(test::thrown_by([&] { plan.add(concat("both", both, 0)); }).code() == ErrorCode::limit_exceeded);
  CHECK(test::thrown_by([&] { plan.add(stack("both", both, 0)); }).code() == ErrorCode::limit_exceeded);
  CHECK(plan.size() == 0);
}

TEST_CASE("materialize: empty tensors whose dims do not add up within 63 bits are refused") {
  const TensorView vast = TensorView::over("vast", DType::u8, Shape{INT64_MAX, 0}, {});
  const std::vector<TensorView> both{vast, vast};
  LoadPlan plan;
  CHECK(test::thrown_by([&] { plan.add(concat("both", both, 0)); }).code() == ErrorCode::out_of_range);
  CHECK(plan.size() == 0);
}

TEST_CASE("materialize: every tensor of a file arrives, on every path, with one thread and with several") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  for (const IoMethod path : every_path)
    for (const unsigned threads : {1u, 3u}) {
      INFO("path ", name(path), " threads ", threads);
      const Weights weights = materialize(plan, {.threads = threads, .io_method = path});
      REQUIRE(weights.size() == checkpoint.tensors().size());
      CHECK(&weights[weights.size() - 1] == &*std::prev(weights.end()));
      CHECK(test::thrown_by([&] { return weights[weights.size()]; }).code() == ErrorCode::out_of_range);
      for (const TensorView& view : checkpoint.tensors()) check_bytes(view, weights[view.name()]);
      CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
      CHECK(weights.stats().bytes_written == plan.estimate().bytes_written);
      CHECK(sum_of(weights.stats().io_uses) == plan.estimate().bytes_read);
      CHECK(weights["one"].span<float>()[0] == 2.5F);
      CHECK(weights["none"].span<float>().empty());
    }
}

TEST_CASE("materialize: slices, shards, transposes and steps are gathered and converted") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView wide = checkpoint.tensor("wide");
  const TensorView deep = checkpoint.tensor("deep");
  const std::vector<TensorView> views = {
      wide.slice(0, 17, 230).renamed("rows"),
      wide.slice(1, 1001, 1033).renamed("columns"),
      wide.shard(1, 3, 8).renamed("shard"),
      wide.transpose(0, 1).renamed("turned"),
      wide.slice(1, 3, 4).renamed("one column"),
      wide.slice(0, 5, 6).transpose(0, 1).renamed("one row turned"),
      deep.transpose(0, 2).renamed("deep turned"),
      deep.transpose(1, 2).slice(1, 5, 900).renamed("deep inner turned"),
      deep.transpose(0, 1).slice(2, 100, 164).renamed("deep outer turned"),
      deep.slice(2, 0, 1).renamed("deep column"),
  };
  LoadPlan plan;
  LoadPlan widened;
  for (const TensorView& view : views) plan.add(view);
  for (const TensorView& view : views) widened.add(view, DType::f32);
  for (const IoMethod path : every_path) {
    INFO("path ", name(path));
    const Weights same = materialize(plan, {.threads = 2, .io_method = path});
    const Weights floats = materialize(widened, {.threads = 2, .io_method = path});
    for (const TensorView& view : views) {
      INFO(view.name());
      const std::vector<float> expected = elements(view);
      const std::span<const float> found = floats[view.name()].span<float>();
      CHECK(std::equal(expected.begin(), expected.end(), found.begin(), found.end()));
      const std::span<const bf16> packed = same[view.name()].span<bf16>();
      REQUIRE(packed.size() == expected.size());
      CHECK(std::equal(expected.begin(), expected.end(), packed.begin(),
                       [](float a, bf16 b) { return a == static_cast<float>(b); }));
    }
    CHECK(same.stats().bytes_read == plan.estimate().bytes_read);
    CHECK(same.stats().bytes_written == plan.estimate().bytes_written);
    CHECK(floats.stats().bytes_written == 2 * plan.estimate().bytes_written);
  }
}

TEST_CASE("materialize: a narrow slice reads little more than it needs") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  plan.add(checkpoint.tensor("wide").slice(1, 0, 50));
  // Rows of 100 bytes, 10,000 apart: no gap is read over.
  CHECK(plan.estimate().bytes_read == 300 * 100);
  CHECK(plan.estimate().bytes_written == 300 * 100);
  const Weights weights = materialize(plan, {.io_method = IoMethod::read});
  CHECK(weights.stats().bytes_read == 300 * 100);
}

TEST_CASE("plan: the tensors are a range of specs, in the order in which they were added") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView wide = checkpoint.tensor("wide");
  std::vector<float> buffer(wide.element_count());
  LoadPlan plan;
  CHECK(plan.empty());
  CHECK(plan.begin() == plan.end());
  plan.add(wide.renamed("b"));
  plan.add(wide.renamed("a").slice(0, 1, 3), DType::f64);
  plan.add(wide, DType::f32, std::as_writable_bytes(std::span(buffer)));
  CHECK_FALSE(plan.empty());
  std::vector<std::string> names;
  for (const TensorSpec& tensor : plan) names.emplace_back(tensor.name);
  CHECK(names == std::vector<std::string>{"b", "a", "wide"});
  const TensorSpec converted = plan[1];
  CHECK(converted.name == "a");
  CHECK(converted.dtype == DType::f64);
  CHECK(Shape(converted.shape) == wide.slice(0, 1, 3).shape());
  CHECK(converted.size_bytes == 8 * wide.slice(0, 1, 3).element_count());
  CHECK(converted.alignment == 1);
  CHECK_FALSE(converted.offset_in_page);
  CHECK(plan[2].size_bytes == buffer.size() * sizeof(float));
  CHECK(test::thrown_by([&] { return plan[3]; }).code() == ErrorCode::out_of_range);
  CHECK(test::thrown_by([&] { return *plan.end(); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("materialize: bytes that several tensors of the plan need are read once") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView wide = checkpoint.tensor("wide");
  LoadPlan once;
  once.add(wide);
  LoadPlan twice;
  twice.add(wide);
  twice.add(wide.renamed("tied"));
  twice.add(wide.slice(0, 10, 20).renamed("part"), DType::f32);
  CHECK(once.estimate().bytes_read == wide.size_bytes());
  CHECK(twice.estimate().bytes_read == once.estimate().bytes_read);
  for (const IoMethod path : every_path) {
    const Weights weights = materialize(twice, {.threads = 2, .io_method = path});
    check_bytes(wide, weights["tied"]);
    check_bytes(wide, weights["wide"]);
    const std::vector<float> part = elements(wide.slice(0, 10, 20));
    CHECK(std::equal(part.begin(), part.end(), weights["part"].span<float>().begin()));
    CHECK(weights.stats().bytes_read == once.estimate().bytes_read);
  }
}

TEST_CASE(
    "materialize: all ranks' parts, fused and separate, and a tensor that each has, come from one reading of the "
    "file") {
  test::SafetensorsBuilder file;
  for (const char* name : {"q", "k", "v"})
    file.add(name, "BF16", {512, 1024}, test::pattern(1u << 20, static_cast<std::uint32_t>(name[0])));
  file.add("norm", "BF16", {1024}, test::pattern(2048, 9));
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", file.build()));
  const std::vector<TensorView> qkv = {checkpoint.tensor("q"), checkpoint.tensor("k"), checkpoint.tensor("v")};
  for (const std::size_t dim : {0, 1}) {
    LoadPlan plan;
    plan.add(concat("qkv", qkv, 0));
    for (int rank = 0; rank < 8; ++rank) {
      const std::string of_rank = " of rank " + std::to_string(rank);
      for (const TensorView& view : qkv) plan.add(view.shard(dim, rank, 8).renamed(std::string(view.name()) + of_rank));
      plan.add(checkpoint.tensor("norm").renamed("norm" + of_rank), DType::f32);
    }
    CHECK(plan.estimate().bytes_read == 3 * (1u << 20) + 2048);
    for (const IoMethod path : every_path) {
      INFO("dim ", dim, " path ", name(path));
      const Weights weights = materialize(plan, {.threads = 2, .io_method = path});
      CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
      const Bytes rows = qkv[2].shard(0, 5, 8).bytes();
      CHECK(std::ranges::equal(weights["qkv"].bytes().subspan((1024 + 320) * 2048, rows.size_bytes()), rows.span()));
      const std::vector<float> part = elements(qkv[1].shard(dim, 6, 8));
      const std::span<const bf16> found = weights["k of rank 6"].span<bf16>();
      CHECK(std::equal(part.begin(), part.end(), found.begin(),
                       [](float a, bf16 b) { return a == static_cast<float>(b) || a != a; }));
    }
  }
}

TEST_CASE("materialize: concat and stack write several views into one tensor") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView wide = checkpoint.tensor("wide");
  const std::vector<TensorView> rows = {wide.slice(0, 100, 300), wide.slice(0, 0, 50)};
  const std::vector<TensorView> columns = {wide.slice(1, 4000, 5000), wide.slice(1, 0, 333)};
  const std::vector<TensorView> experts = {checkpoint.tensor("small.3"), checkpoint.tensor("small.1"),
                                           checkpoint.tensor("small.399")};
  LoadPlan plan;
  plan.add(concat("rows", rows, 0));
  plan.add(concat("columns", columns, 1), DType::f32);
  for (std::size_t dim = 0; dim < 3; ++dim) plan.add(stack("experts." + std::to_string(dim), experts, dim));
  const Weights weights = materialize(plan);
  CHECK(weights["rows"].shape() == Shape{250, 5000});
  CHECK(weights["columns"].shape() == Shape{300, 1333});
  const std::span<const bf16> row = weights["rows"].span<bf16>();
  CHECK(row[0] == wide.read<bf16>(100, 0));
  CHECK(row[200 * 5000 + 7] == wide.read<bf16>(0, 7));
  const std::span<const float> column = weights["columns"].span<float>();
  CHECK(column[0] == static_cast<float>(wide.read<bf16>(0, 4000)));
  CHECK(column[299 * 1333 + 1000] == static_cast<float>(wide.read<bf16>(299, 0)));
  CHECK(weights["experts.0"].shape() == Shape{3, 7, 31});
  CHECK(weights["experts.1"].shape() == Shape{7, 3, 31});
  CHECK(weights["experts.2"].shape() == Shape{7, 31, 3});
  for (int expert = 0; expert < 3; ++expert)
    for (int i = 0; i < 7; ++i)
      for (int j = 0; j < 31; ++j) {
        const bf16 value = experts[static_cast<std::size_t>(expert)].read<bf16>(i, j);
        REQUIRE(weights["experts.0"].span<bf16>()[static_cast<std::size_t>((expert * 7 + i) * 31 + j)] == value);
        REQUIRE(weights["experts.1"].span<bf16>()[static_cast<std::size_t>((i * 3 + expert) * 31 + j)] == value);
        REQUIRE(weights["experts.2"].span<bf16>()[static_cast<std::size_t>((i * 31 + j) * 3 + expert)] == value);
      }
}

TEST_CASE("materialize: the caller's buffers are filled, packed or with strides, and nothing beside them") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView wide = checkpoint.tensor("wide");
  std::vector<std::byte> packed(wide.size_bytes() + 1, std::byte{0x5A});
  std::vector<bf16> padded(300 * 5008, bf16(0.5F));
  std::vector<float> turned(300 * 5000);
  LoadPlan plan;
  plan.add(wide, DType::bf16, packed);
  plan.add(wide.renamed("padded"), DType::bf16, std::as_writable_bytes(std::span(padded)), Strides{5008, 1});
  plan.add(wide.renamed("turned"), DType::f32, std::as_writable_bytes(std::span(turned)), Strides{1, 300});
  const Weights weights = materialize(plan, {.threads = 2});
  CHECK(weights["wide"].bytes().data() == packed.data());
  CHECK(weights.stats().arena_bytes == 0);
  check_bytes(wide, weights["wide"]);
  CHECK(packed.back() == std::byte{0x5A});
  CHECK_FALSE(weights["padded"].is_contiguous());
  for (std::int64_t i = 0; i < 300; i += 13)
    for (std::int64_t j = 0; j < 5000; j += 7) {
      REQUIRE(padded[static_cast<std::size_t>(i * 5008 + j)] == wide.read<bf16>(i, j));
      REQUIRE(turned[static_cast<std::size_t>(j * 300 + i)] == static_cast<float>(wide.read<bf16>(i, j)));
    }
  for (std::size_t row = 0; row < 300; ++row)
    for (std::size_t column = 5000; column < 5008; ++column) REQUIRE(padded[row * 5008 + column] == bf16(0.5F));
}

TEST_CASE("materialize: views of memory and tensors of a load load as files do") {
  std::vector<float> values(100'000);
  std::iota(values.begin(), values.end(), 0.0F);
  const Bytes bytes = Bytes::copy_of(std::as_bytes(std::span(values)));
  const TensorView view = TensorView::over("x", DType::f32, {1000, 100}, bytes);
  const Tensor turned = materialize(view.transpose(0, 1));
  CHECK(turned.span<float>()[1] == 100.0F);
  const Tensor back = materialize(turned.view().transpose(0, 1), DType::f64);
  CHECK(std::equal(values.begin(), values.end(), back.span<double>().begin()));
}

TEST_CASE("materialize: tensors lie on the alignment asked for, and outlive the weights and the checkpoint") {
  const test::TempFolder folder;
  Tensor kept;
  bf16 sixth;
  {
    const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors()) plan.add(view);
    const Weights weights = materialize(plan, {.alignment = 4096});
    for (const Tensor& tensor : weights) CHECK(reinterpret_cast<std::uintptr_t>(tensor.bytes().data()) % 4096 == 0);
    kept = weights["small.7"];
    sixth = checkpoint.tensor("small.7").read<bf16>(0, 5);
  }
  CHECK(kept.span<bf16>()[5] == sixth);
  CHECK(test::thrown_by([&] { (void)materialize(kept.view(), {.alignment = 48}); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("materialize: progress never goes back and ends at the whole; what it throws ends the load") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (int i = 0; i < 12; ++i) plan.add(checkpoint.tensor("wide").renamed(std::to_string(i)), DType::f64);
  std::uint64_t last = 0;
  std::uint64_t total = 0;
  int calls = 0;
  const Weights weights = materialize(plan, {.threads = 2, .progress = [&](const Progress& progress) {
                                               CHECK(progress.bytes_done >= last);
                                               last = progress.bytes_done;
                                               total = progress.bytes_total;
                                               ++calls;
                                             }});
  CHECK(calls > 2);
  CHECK(last == plan.estimate().bytes_written);
  CHECK(total == plan.estimate().bytes_written);
  CHECK_THROWS_AS(
      (void)materialize(plan, {.threads = 2, .progress = [](const Progress&) { throw std::runtime_error("enough"); }}),
      std::runtime_error);
}

TEST_CASE("materialize: direct reads go straight to where bytes belong, except in partial blocks") {
  test::SafetensorsBuilder file;
  file.align(4096);
  file.add("whole", "U8", {3 << 20}, test::pattern(3u << 20));
  file.add("tail", "U8", {(2 << 20) + 1536}, test::pattern((2u << 20) + 1536, 2));
  file.add("short", "U8", {64 * 9}, test::pattern(64 * 9, 3));
  file.add("head", "U8", {5 << 20}, test::pattern(5u << 20, 4));
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", file.build()));
  LoadPlan one;
  one.add(checkpoint.tensor("whole"));
  LoadPlan all;
  for (const TensorView& view : checkpoint.tensors()) all.add(view);
  for (const unsigned threads : {1u, 2u}) {
    const Weights whole = materialize(one, {.threads = threads, .io_method = IoMethod::direct});
    const Weights every = materialize(all, {.threads = threads, .io_method = IoMethod::direct});
    check_bytes(checkpoint.tensor("whole"), whole["whole"]);
    for (const TensorView& view : checkpoint.tensors()) check_bytes(view, every[view.name()]);
    if (whole.stats().fallbacks != 0) return test::skip("no O_DIRECT here");
    CHECK(whole.stats().peak_staging_bytes == 0);
    CHECK(whole.stats().over_read == 0);
    CHECK(every.stats().peak_staging_bytes <= 4 * 65536);
    CHECK(every.stats().over_read <= 8 * 4096);
    CHECK(every.stats().bytes_read == all.estimate().bytes_read);
  }
}

TEST_CASE("materialize: loads that run at once share the processors, unless they are told how many to use") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (int i = 0; i < 12; ++i) plan.add(checkpoint.tensor("wide").renamed(std::to_string(i)), DType::f64);
  const unsigned alone = threads_of(plan, 0);
  std::optional<unsigned> beside;
  std::optional<unsigned> asked;
  const Weights outer = materialize(plan, {.progress = [&](const Progress&) {
                                      if (beside) return;
                                      beside = threads_of(plan, 0);
                                      asked = threads_of(plan, 2);
                                    }});
  CHECK(outer.stats().threads == alone);
  CHECK(asked == 2u);
  REQUIRE(beside.has_value());
  // Of at most 16 threads, the first load takes all that there are; what is left of more is for the second.
  const unsigned processors = engine::usable_threads(1u << 20);
  CHECK(*beside == std::clamp(processors - std::min(processors, alone), 1u, alone));
  CHECK(threads_of(plan, 0) == alone);
}

TEST_CASE("materialize: a load runs where the calling thread may, and leaves it there") {
  ::cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  ::cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  CHECK(engine::usable_threads(16) == 1);
  CHECK(threads_of(plan, 0) == 1);
  CHECK(threads_of(plan, 2) == 2);
  ::cpu_set_t after;
  REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&one, &after));
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("materialize: a stop request ends the load with an Error") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (int i = 0; i < 12; ++i) plan.add(checkpoint.tensor("wide").renamed(std::to_string(i)), DType::f64);
  for (const IoMethod path : every_path) {
    std::stop_source before;
    before.request_stop();
    CHECK(test::thrown_by([&] { (void)materialize(plan, {.stop = before.get_token(), .io_method = path}); }).code() ==
          ErrorCode::cancelled);
    std::stop_source during;
    const auto stop = [&](const Progress&) { during.request_stop(); };
    CHECK(test::thrown_by([&] {
            (void)materialize(plan, {.threads = 2, .progress = stop, .stop = during.get_token(), .io_method = path});
          }).code() == ErrorCode::cancelled);
  }
}

TEST_CASE("materialize: a plan larger than memory is an Error, and an empty plan is a load") {
  const Bytes byte = Bytes::copy_of(std::as_bytes(std::span("x", 1)));
  CHECK(materialize(LoadPlan()).empty());
  const TensorView view = TensorView::over("x", DType::u8, {1}, byte);
  LoadPlan plan;
  plan.add(view);
  const Weights weights = materialize(plan);
  CHECK(weights["x"].span<std::uint8_t>()[0] == 'x');
  CHECK(weights.find("y") == nullptr);
  CHECK(test::thrown_by([&] { (void)weights["y"]; }).code() == ErrorCode::not_found);
  CHECK(test::thrown_by([&] { (void)weights["x"].span<float>(); }).code() == ErrorCode::type_mismatch);
}
