// Loads of bytes that are made while they are read: gathered from numbers that a file spells one by one, inflated, or
// both.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/gather_run.hpp"
#include "format/msgpack/numbers.hpp"
#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "kernels/gather.hpp"
#include "materialize/every_target.hpp"
#include "support/destinations.hpp"
#include "support/fixtures.hpp"
#include "support/memory_use.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

namespace {

using namespace heft;
using test::TempFolder;
using test::pack::list;
using test::pack::map;
using test::pack::sized;
using test::pack::text;

std::string gzip(const std::string& content) {
  return std::string("\x1F\x8B\x08", 3) + std::string(7, '\0') + test::deflated(content) +
         test::little(test::zip_crc32(content), 4) + test::little(content.size(), 4);
}

std::string list_head(std::uint64_t count) { return sized("\xDD", count, 4); }

std::string listed(const std::string& numbers, std::uint64_t count, const std::vector<std::uint64_t>& dims) {
  return map({text("value"), list_head(count) + numbers, text("shape"), test::pack::shape(dims)});
}

std::string burn_record(const std::string& item, const char* real) {
  return map({text("metadata"),
              map({text("float"), text(real), text("int"), text("i32"), text("version"), text("0.13.0")}), text("item"),
              item});
}

/// The contents of a record, as numbers.
struct Model {
  std::vector<float> reals;
  std::vector<std::uint16_t> halves;
  std::vector<std::int32_t> integers;
  std::string file;
};

constexpr std::int64_t rows = 300;
constexpr std::int64_t columns = 701;

// Reals of one width, halves of three, integers of all and with signs.
Model model() {
  Model made;
  std::mt19937 random(5);
  std::string reals, halves, integers;
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    made.reals.push_back(static_cast<float>(static_cast<std::int32_t>(random())) / 65536);
    reals += test::pack::real32(made.reals.back());
    // Finite, and now and then of one or two bytes.
    const auto half = static_cast<std::uint16_t>((random() & 0xBBFF) >> (random() % 16 == 0 ? 9 : 0));
    made.halves.push_back(half);
    halves += half < 128   ? std::string(1, static_cast<char>(half))
              : half < 256 ? sized("\xCC", half, 1)
                           : sized("\xCD", half, 2);
    const auto integer = static_cast<std::int32_t>(random()) >> random() % 32;
    made.integers.push_back(integer);
    integers += integer >= 0 && integer < 128   ? std::string(1, static_cast<char>(integer))
                : integer >= -32 && integer < 0 ? std::string(1, static_cast<char>(integer))
                : integer >= 0                  ? sized("\xCE", static_cast<std::uint32_t>(integer), 4)
                                                : sized("\xD2", static_cast<std::uint32_t>(integer), 4);
  }
  const std::vector<std::uint64_t> dims{rows, columns};
  made.file =
      burn_record(map({text("reals"), listed(reals, rows * columns, dims), text("small"),
                       listed("\x07" + sized("\xD2", 0xFFFFFFFE, 4) + "\x09", 3, {3}), text("halves"),
                       listed(halves, rows * columns, dims), text("integers"), listed(integers, rows * columns, dims)}),
                  "half::binary16::f16");
  return made;
}

template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  std::vector<T> values(tensor.size_bytes() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes().data(), tensor.size_bytes());
  return values;
}

MaterializeOptions with_threads(unsigned threads) {
  MaterializeOptions options;
  options.threads = threads;
  return options;
}

}  // namespace

TEST_CASE("made: the gathering kernel is the scalar one, on every target, wherever the run ends") {
  std::mt19937 random(3);
  for (const std::size_t width : {1, 2, 4, 8}) {
    std::vector<std::byte> packed((width + 1) * 700);
    for (std::byte& byte : packed) byte = std::byte(random());
    for (std::size_t i = 0; i < 700; ++i) packed[i * (width + 1)] = std::byte{0xCD};
    test::on_every_target([&] {
      for (const std::size_t count : {0, 1, 2, 7, 31, 63, 64, 65, 300, 700})
        for (const std::size_t broken :
             {std::size_t{1}, std::size_t{5}, std::size_t{62}, std::size_t{64}, std::size_t{299}, std::size_t{1000}}) {
          std::vector<std::byte> from(packed.begin(),
                                      packed.begin() + static_cast<std::ptrdiff_t>(count * (width + 1)));
          if (broken < count) from[broken * (width + 1)] = std::byte{0xCC};
          std::vector<std::byte> expected(count * width), found(count * width + 1, std::byte{0x5A});
          const std::size_t run = count == 0 ? 0 : core::gather_run(width, from.data(), expected.data(), count);
          CHECK(run == std::min(count, broken));
          CHECK(kernels::gather_run(width, from.data(), found.data(), count) == run);
          CHECK(std::equal(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(run * width), expected.begin()));
          CHECK(found.back() == std::byte{0x5A});
        }
    });
  }
}

TEST_CASE("made: value lists are loaded whole, in parts and converted, plain and in gzip, by any number of threads") {
  const TempFolder folder;
  const Model expected = model();
  for (const bool packed : {false, true})
    for (const unsigned threads : {1u, 3u}) {
      CAPTURE(packed);
      CAPTURE(threads);
      const Checkpoint burn =
          open(folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(expected.file) : expected.file));
      LoadPlan plan;
      for (const TensorView& view : burn.tensors()) plan.add(view);
      const Weights weights = materialize(plan, with_threads(threads));
      CHECK(values_of<float>(weights["reals"]) == expected.reals);
      CHECK(values_of<std::uint16_t>(weights["halves"]) == expected.halves);
      CHECK(weights["halves"].dtype() == DType::f16);
      CHECK(values_of<std::int32_t>(weights["integers"]) == expected.integers);
      CHECK(values_of<std::int32_t>(weights["small"]) == std::vector<std::int32_t>{7, -2, 9});
      CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
      CHECK(weights.stats().bytes_written == plan.estimate().bytes_written);
      REQUIRE(weights.stats().io_uses.size() == 1);
      CHECK(weights.stats().io_uses[0].reason == IoReason::made);
    }
}

TEST_CASE("made: slices, transposes and conversions of value lists are those of the numbers") {
  const TempFolder folder;
  const Model expected = model();
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const Checkpoint burn =
        open(folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(expected.file) : expected.file));
    const TensorView halves = burn.tensor("halves");
    const auto half_at = [&](std::int64_t i, std::int64_t j) {
      return f16_to_f32(expected.halves[static_cast<std::size_t>(i * columns + j)]);
    };
    const std::vector<float> turned = values_of<float>(materialize(halves.transpose(0, 1), DType::f32));
    const std::vector<float> part =
        values_of<float>(materialize(halves.slice(1, 100, 103).slice(0, 7, 250), DType::f32));
    bool same = true;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j)
        same = same && turned[static_cast<std::size_t>(j * rows + i)] == half_at(i, j);
    for (std::int64_t i = 7; i < 250; ++i)
      for (std::int64_t j = 100; j < 103; ++j)
        same = same && part[static_cast<std::size_t>((i - 7) * 3 + j - 100)] == half_at(i, j);
    CHECK(same);
    const TensorView reals = burn.tensor("reals");
    const std::vector<std::uint16_t> narrow =
        values_of<std::uint16_t>(materialize(reals.slice(0, 299, 300), DType::bf16));
    for (std::int64_t j = 0; j < columns; ++j)
      CHECK(narrow[static_cast<std::size_t>(j)] ==
            f32_to_bf16(expected.reals[static_cast<std::size_t>(299 * columns + j)]));
    CHECK(reals.read<float>(299, 700) == expected.reals.back());
    CHECK(halves.read<f16>(123, 45).bits == expected.halves[123 * columns + 45]);
    CHECK(materialize(halves, DType::f32).dtype() == DType::f32);
  }
}

TEST_CASE("made: a view of numbers refuses to be bytes") {
  const TempFolder folder;
  const TensorView reals = open(folder.write("m.mpk", model().file)).tensor("reals");
  CHECK(reals.is_spelled());
  CHECK(test::thrown_by([&] { return reals.as<float>(); }).code() == ErrorCode::type_mismatch);
  CHECK(test::thrown_by([&] { return reals.bytes(); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("made: value lists are streamed, in any order") {
  const TempFolder folder;
  const Model expected = model();
  for (const bool backwards : {false, true}) {
    const Checkpoint burn = open(folder.write("m.mpk.gz", gzip(expected.file)));
    std::vector<std::string> names{"reals", "small", "halves", "integers"};
    if (backwards) std::ranges::reverse(names);
    LoadPlan plan;
    for (const std::string& name : names) plan.add(burn.tensor(name));
    std::size_t seen = 0;
    for (const Tensor& tensor : stream(plan, {}, {.in_flight_bytes = 1 << 20})) {
      ++seen;
      if (tensor.name() == "reals") CHECK(values_of<float>(tensor) == expected.reals);
      if (tensor.name() == "integers") CHECK(values_of<std::int32_t>(tensor) == expected.integers);
    }
    CHECK(seen == names.size());
  }
}

TEST_CASE(
    "made: a list that is not as it was when the file was opened is an Error that names the tensor and the byte") {
  const TempFolder folder;
  const Model expected = model();
  for (const char* name : {"reals", "halves"}) {
    const auto path = folder.write("m.mpk", expected.file);
    const Checkpoint burn = open(path);
    std::string changed = expected.file;
    // The head of a number in the middle of the list becomes one of another width.
    const char head = std::string_view(name) == "reals" ? '\xCA' : '\xCD';
    const std::size_t near = expected.file.find(name) + 400'000;
    const std::size_t at = std::string_view(name) == "reals" ? expected.file.find("reals") + 5 + 1 + 6 + 5 + 5 * 80'000
                                                             : expected.file.find(head, near);
    REQUIRE(changed[at] == head);
    changed[at] = '\xCF';
    folder.write("m.mpk", changed);
    const Error error = test::thrown_by([&] { return materialize(burn.tensor(name)); });
    CHECK((error.code() == ErrorCode::changed_on_disk || error.code() == ErrorCode::corrupt));
    CHECK(error.path() == path.string());
  }
}

TEST_CASE("made: a load of value lists takes little beside its destination") {
  if (test::memory_is_shadowed()) return test::skip("a sanitizer shadows memory");
  if (!test::reset_peak()) return test::skip("the kernel does not set a peak back");
  const TempFolder folder;
  constexpr std::uint64_t count = 20'000'000;
  std::string numbers;
  numbers.reserve(count * 5);
  for (std::uint64_t i = 0; i < count; ++i) numbers += sized("\xCA", i * 2654435761u & 0x7F7FFFFF, 4);
  const std::string file = burn_record(map({text("t"), listed(numbers, count, {count})}), "f32");
  numbers = {};
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const auto path = folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(file.substr(0)) : file);
    REQUIRE(test::reset_peak());
    const std::uint64_t before = test::resident_bytes();
    const Checkpoint burn = open(path);
    const Tensor tensor = materialize(burn.tensor("t"));
    const std::uint64_t peak = test::peak_resident_bytes() - before;
    CHECK(peak < count * 4 + (32u << 20));
    CHECK(tensor.size_bytes() == count * 4);
  }
}

// ---- lists of numbers in pickles and MessagePack ----

namespace {

// A pickle of {"reals": [...], "integers": [...]}, in batches of 1000 as Python writes them.
std::string number_pickle(std::size_t count) {
  const auto big = [](std::uint64_t bits) {
    std::string bytes = test::little(bits, 8);
    std::ranges::reverse(bytes);
    return bytes;
  };
  std::string reals = "]";
  std::string integers = "]";
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 1000 == 0) reals += "(", integers += "(";
    reals += "G" + big(std::bit_cast<std::uint64_t>(static_cast<double>(i) / 4));
    integers += i < 256 ? "K" + test::little(i, 1) : i < 65536 ? "M" + test::little(i, 2) : "J" + test::little(i, 4);
    if (i % 1000 == 999 || i + 1 == count) reals += "e", integers += "e";
  }
  namespace pickle = test::pickle;
  return pickle::proto(4) + pickle::dict({pickle::text("reals"), reals, pickle::text("integers"), integers}) + ".";
}

// The same lists in a MessagePack file of Burn.
std::string number_pack(std::size_t count) {
  namespace pack = test::pack;
  std::string reals = pack::sized("\xDD", count, 4);
  std::string integers = reals;
  for (std::size_t i = 0; i < count; ++i) {
    reals += pack::real64(static_cast<double>(i) / 4);
    integers += i < 128     ? std::string(1, static_cast<char>(i))
                : i < 65536 ? pack::sized("\xCD", i, 2)
                            : pack::sized("\xCE", i, 4);
  }
  return pack::map({pack::text("metadata"), pack::map({pack::text("float"), pack::text("f32")}), pack::text("item"),
                    pack::map({pack::text("reals"), reals, pack::text("integers"), integers})});
}

}  // namespace

TEST_CASE("made: lists of numbers are converted to any type, on every path") {
  const TempFolder folder;
  constexpr std::size_t count = 300'123;
  for (const unsigned threads : {1u, 4u})
    for (const Access access : {Access::map, Access::read})
      for (const bool is_pickle : {true, false}) {
        CAPTURE(threads);
        CAPTURE(is_pickle);
        const auto path =
            is_pickle ? folder.write("m.pkl", number_pickle(count)) : folder.write("m.mpk", number_pack(count));
        const Record root = open(path, {.access = access}).root();
        MaterializeOptions options;
        options.threads = threads;
        const auto loaded = [&](const TensorView& view, DType dtype) {
          LoadPlan plan;
          plan.add(view, dtype);
          return materialize(plan, options)[0];
        };
        const TensorView reals = root["reals"].numbers();
        const TensorView whole = root["integers"].numbers();
        const Tensor made[] = {loaded(reals, DType::f64), loaded(reals, DType::f32), loaded(whole, DType::i64),
                               loaded(reals.slice(0, 1999, 70'001), DType::bf16),
                               loaded(whole.slice(0, 1999, 70'001), DType::i64)};
        const auto doubles = made[0].span<double>();
        const auto floats = made[1].span<float>();
        const auto integers = made[2].span<std::int64_t>();
        const auto narrow = made[3].span<bf16>();
        const auto slice = made[4].span<std::int64_t>();
        std::size_t wrong = slice.size() != 68'002;
        for (std::size_t i = 0; i < count; ++i)
          wrong += doubles[i] != static_cast<double>(i) / 4 || floats[i] != static_cast<float>(i) / 4 ||
                   integers[i] != static_cast<std::int64_t>(i);
        for (std::size_t i = 0; i < slice.size(); ++i)
          wrong +=
              slice[i] != static_cast<std::int64_t>(i + 1999) || narrow[i] != bf16(static_cast<float>(i + 1999) / 4);
        CHECK(wrong == 0);
      }
}

TEST_CASE("made: integers and reals in one list are loaded as f64, by any number of threads") {
  const TempFolder folder;
  constexpr std::size_t count = 200'003;
  namespace pickle = test::pickle;
  const auto value = [](std::size_t i) { return i % 7 == 0 ? static_cast<double>(i) : static_cast<double>(i) + 0.5; };
  std::string list = "]";
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 1000 == 0) list += "(";
    std::string bits = test::little(std::bit_cast<std::uint64_t>(value(i)), 8);
    std::ranges::reverse(bits);
    list += i % 7 == 0 ? "J" + test::little(i, 4) : "G" + bits;
    if (i % 1000 == 999 || i + 1 == count) list += "e";
  }
  const auto path = folder.write("m.pkl", pickle::proto(4) + pickle::dict({pickle::text("list"), list}) + ".");
  for (const unsigned threads : {1u, 4u}) {
    MaterializeOptions options;
    options.threads = threads;
    LoadPlan plan;
    const TensorView view = open(path).root()["list"].numbers();
    plan.add(view, DType::f64);
    plan.add(view.slice(0, 1999, 70'001).renamed("part"), DType::f32);
    const auto loaded = materialize(plan, options);
    const auto whole = loaded[0].span<double>();
    const auto part = loaded[1].span<float>();
    std::size_t wrong = part.size() != 68'002;
    for (std::size_t i = 0; i < count; ++i) wrong += whole[i] != value(i);
    for (std::size_t i = 0; i < part.size(); ++i) wrong += part[i] != static_cast<float>(value(i + 1999));
    CHECK(wrong == 0);
  }
}

TEST_CASE("made: numbers of a pickle that changed after it was opened are an error") {
  const TempFolder folder;
  const std::string file = number_pickle(100'000);
  const auto path = folder.write("m.pkl", file);
  const Record list = open(path).root()["reals"];
  const TensorView view = list.numbers();
  std::string changed = file;
  const std::size_t at = changed.find('G', 300'000);
  changed[at] = 'K';
  folder.write("m.pkl", changed);
  const Error error = test::thrown_by([&] { return materialize(view); });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.path() == path.string());
}

TEST_CASE("made: a load of a list of a pickle takes little beside its destination") {
  if (test::memory_is_shadowed()) return test::skip("a sanitizer shadows memory");
  if (!test::reset_peak()) return test::skip("the kernel does not set a peak back");
  const TempFolder folder;
  constexpr std::size_t count = 5'000'000;
  const auto path = folder.write("m.pkl", number_pickle(count));
  REQUIRE(test::reset_peak());
  const std::uint64_t before = test::resident_bytes();
  const Checkpoint checkpoint = open(path);
  const Tensor tensor = materialize(checkpoint.root()["reals"].numbers());
  CHECK(test::peak_resident_bytes() - before < count * 8 + (32u << 20));
  CHECK(tensor.size_bytes() == count * 8);
}

// ---- deflated members ----

namespace {

std::string npy(const std::string& values, std::size_t count) {
  std::string head = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",), }";
  head.resize(117, ' ');
  head += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + test::little(head.size(), 2) + head + values;
}

std::string floats(std::size_t count, unsigned seed) {
  std::string bytes(count * 4, '\0');
  std::mt19937 random(seed);
  for (std::size_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(random() % 1000);
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  return bytes;
}

std::string archive(std::size_t members, std::size_t count, std::optional<std::uint32_t> crc32 = {}) {
  test::ZipBuilder zip;
  for (std::size_t i = 0; i < members; ++i)
    zip.add({.name = "a" + std::to_string(i) + ".npy",
             .content = npy(floats(count, static_cast<unsigned>(i)), count),
             .deflate = true,
             .crc32 = i + 1 == members ? crc32 : std::nullopt});
  return zip.build();
}

}  // namespace

TEST_CASE("made: deflated arrays are inflated into their place, by any number of threads") {
  const TempFolder folder;
  const auto path = folder.write("a.npz", archive(5, 1'500'000));
  for (const unsigned threads : {1u, 4u}) {
    CAPTURE(threads);
    const Checkpoint arrays = open(path);
    LoadPlan plan;
    for (const TensorView& view : arrays.tensors()) plan.add(view);
    const Weights weights = materialize(plan, with_threads(threads));
    for (unsigned i = 0; i < 5; ++i) {
      const Tensor& tensor = weights["a" + std::to_string(i)];
      CHECK(std::memcmp(tensor.bytes().data(), floats(1'500'000, i).data(), 6'000'000) == 0);
    }
    CHECK(weights.stats().threads == std::min(threads, 4u));
    CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
  }
}

TEST_CASE("made: a deflated array is read in parts, forwards and backwards, also while a whole view is kept") {
  const TempFolder folder;
  const Checkpoint arrays = open(folder.write("a.npz", archive(2, 1'500'000)));
  const std::string expected = floats(1'500'000, 1);
  const TensorView view = arrays.tensor("a1");
  const auto check = [&](std::int64_t begin, std::int64_t end) {
    const Tensor part = materialize(view.slice(0, begin, end));
    CHECK(std::memcmp(part.bytes().data(), expected.data() + begin * 4, static_cast<std::size_t>(end - begin) * 4) ==
          0);
  };
  check(10, 1000);
  check(1'000'000, 1'200'000);
  check(1'200'000, 1'500'000);
  check(0, 5);
  const Bytes whole = view.bytes();
  CHECK(std::memcmp(whole.data(), expected.data(), expected.size()) == 0);
  // The same elements in two orders: what is fetched overlaps.
  LoadPlan plan;
  plan.add(view.reshape({1500, 1000}).transpose(0, 1).renamed("turned"));
  plan.add(view.slice(0, 500'001, 1'400'000));
  plan.add(view.reshape({3, 500'000}).slice(1, 250'000, 500'000).renamed("middle"));
  const Weights weights = materialize(plan);
  CHECK(std::memcmp(weights["a1"].bytes().data(), expected.data() + 500'001 * 4, 899'999 * 4) == 0);
  float last = 0;
  std::memcpy(&last, expected.data() + expected.size() - 4, 4);
  float turned = 0;
  std::memcpy(&turned, weights["turned"].bytes().data() + expected.size() - 4, 4);
  CHECK(turned == last);
}

TEST_CASE(
    "made: nothing of a member whose checksum or size is wrong is handed out, also where a part of it was asked for") {
  const TempFolder folder;
  const auto wrong_checksum = folder.write("crc.npz", archive(3, 100'000, 0x12345678));
  const Checkpoint arrays = open(wrong_checksum);
  CHECK(materialize(arrays.tensor("a0")).size_bytes() == 400'000);
  CHECK(test::thrown_by([&] { return materialize(arrays.tensor("a2")); }).code() == ErrorCode::corrupt);
  const Error part = test::thrown_by([&] { return materialize(arrays.tensor("a2").slice(0, 0, 10)); });
  CHECK(part.code() == ErrorCode::corrupt);
  CHECK(part.tensor() == "a2");
  CHECK(part.path() == wrong_checksum.string());
  for (const std::int64_t off : {-4, 4}) {
    test::ZipBuilder zip;
    const std::string content = npy(floats(1000, 1), 1000);
    zip.add({.name = "a.npy",
             .content = content,
             .deflate = true,
             .full_size = static_cast<std::uint64_t>(static_cast<std::int64_t>(content.size()) + off)});
    try {
      const Checkpoint array = open(folder.write("size.npz", zip.build()));
      CHECK(test::thrown_by([&] { return materialize(array.tensor("a")); }).code() == ErrorCode::corrupt);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::corrupt);  // an array that is longer than its member is found at once
    }
  }
}

TEST_CASE("made: a load of deflated members takes little beside its destination") {
  if (test::memory_is_shadowed()) return test::skip("a sanitizer shadows memory");
  if (!test::reset_peak()) return test::skip("the kernel does not set a peak back");
  const TempFolder folder;
  const auto path = folder.write("a.npz", archive(1, 15'000'000));
  const Checkpoint arrays = open(path);
  REQUIRE(test::reset_peak());
  const std::uint64_t before = test::resident_bytes();
  const Tensor tensor = materialize(arrays.tensor("a0"));
  CHECK(test::peak_resident_bytes() - before < tensor.size_bytes() + (32u << 20));
}

TEST_CASE("made: inflated and gathered values reach device memory too") {
  const TempFolder folder;
  const Model expected = model();
  const Checkpoint burn = open(folder.write("m.mpk", expected.file));
  LoadPlan plan;
  plan.add(burn.tensor("reals"));
  plan.add(burn.tensor("halves"), DType::f32);
  const auto far = std::make_shared<test::DeviceDestination>();
  MaterializeOptions options;
  options.destination = far;
  const Weights weights = materialize(plan, options);
  const std::uint64_t size = expected.reals.size() * 4;
  const std::span<const std::byte> bytes = far->bytes_written_once(weights["reals"].placement(), size);
  CHECK(std::memcmp(bytes.data(), expected.reals.data(), size) == 0);
}
