// Burn's and Flax's files as checkpoints: views in the mapping, over inflated bytes, over memory made at open, and of
// pieces.
#include <doctest/doctest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <libdeflate.h>

#include "heft/checkpoint.hpp"
#include "heft/record.hpp"
#include "record/support.hpp"
#include "support/cbor_builder.hpp"
#include "support/memory_use.hpp"
#include "support/pack_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::test::pack;
using test::TempFolder;

namespace {

std::string floats(std::size_t count, float first = 0) {
  std::string bytes(count * sizeof(float), '\0');
  for (std::size_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

std::string burn_record() {
  const std::string placed =
      map({text("bytes"), bytes(floats(6)), text("shape"), shape({2, 3}), text("dtype"), text("F32")});
  const std::string listed = map({text("value"), list({real32(1.5F), real32(-2)}), text("shape"), shape({2})});
  const auto parameter = [](const std::string& inner) { return map({text("id"), text("p"), text("param"), inner}); };
  return map(
      {text("metadata"), map({text("float"), text("f32"), text("int"), text("i32"), text("version"), text("0.13.0")}),
       text("item"),
       map({text("fc"),
            map({text("weight"), parameter(placed), text("bias"), parameter(listed), text("stride"), natural(2)})})});
}

std::string gzip(const std::string& content) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  std::string packed(libdeflate_gzip_compress_bound(compressor, content.size()), '\0');
  packed.resize(libdeflate_gzip_compress(compressor, content.data(), content.size(), packed.data(), packed.size()));
  libdeflate_free_compressor(compressor);
  return packed;
}

std::string flax_array(const std::vector<std::uint64_t>& dims, const std::string& payload) {
  return extension(1, list({shape(dims), text("float32"), bytes(payload)}));
}

/// The elements 0, 1, 2.. of that shape, in chunks of `step` elements.
std::string flax_chunks(const std::vector<std::uint64_t>& dims, std::size_t count, std::size_t step) {
  std::vector<std::string> shape_items, chunks;
  for (std::size_t i = 0; i < dims.size(); ++i)
    shape_items.insert(shape_items.end(), {text(std::to_string(i)), natural(dims[i])});
  for (std::size_t at = 0; at < count; at += step) {
    const std::size_t size = std::min(step, count - at);
    chunks.insert(chunks.end(),
                  {text(std::to_string(at / step)), flax_array({size}, floats(size, static_cast<float>(at)))});
  }
  return map({text("big"), map({text("__msgpack_chunked_array__"), test::pack::boolean(true), text("shape"),
                                map(shape_items), text("chunks"), map(chunks)})});
}

}  // namespace

TEST_CASE("packs: a Burn record is a tree of tensors and values, whether plain or in gzip") {
  const TempFolder folder;
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const auto path = folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(burn_record()) : burn_record());
    const Checkpoint burn = open(path);
    const Record fc = burn.root()["fc"];
    const TensorView weight = fc["weight"].tensor();
    CHECK(weight.shape() == Shape{2, 3});
    CHECK(weight.read<float>(1, 2) == 5.0F);
    CHECK(fc["bias"].tensor().read<float>(1) == -2.0F);
    CHECK(fc["stride"].integer() == 2);
    const TensorView bias = fc["bias"].tensor();
    CHECK(bias.shard_path() == path.string());
    CHECK(burn.metadata()["version"].text() == "0.13.0");
    CHECK(burn.metadata()["param_id"]["fc.weight"].text() == "p");
    CHECK(burn.verify_checksums().empty());
  }
}

TEST_CASE("packs: a view of a value list outlives the checkpoint") {
  const TempFolder folder;
  TensorView bias;
  {
    const Checkpoint burn = open(folder.write("m.mpk", burn_record()));
    bias = burn.tensor("fc.bias");
  }
  CHECK(bias.name() == "fc.bias");
  CHECK(bias.read<float>(0) == 1.5F);
  CHECK(test::thrown_by([&] { return bias.as<float>(); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("packs: reports and reads unaligned bytes") {
  const TempFolder folder;
  const TensorView weight = open(folder.write("m.mpk", burn_record())).tensor("fc.weight");
  CHECK(weight.read<float>(0, 1) == 1.0F);
  const Bytes run = weight.bytes();
  if (reinterpret_cast<std::uintptr_t>(run.data()) % alignof(float) != 0)
    CHECK(test::thrown_by([&] { return weight.as<float>(); }).code() == ErrorCode::misaligned);
}

TEST_CASE("packs: gzip whose checksum is wrong is damage, found at open") {
  const TempFolder folder;
  std::string packed = gzip(burn_record());
  packed[packed.size() - 8] ^= 1;
  const auto path = folder.write("m.mpk.gz", packed);
  const Error error = test::thrown_by([&] { return open(path); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.message().find("checksum") != std::string::npos);
  CHECK(error.path() == path.string());
}

TEST_CASE("packs: an array of Flax in chunks is one tensor, wherever chunks break rows") {
  const TempFolder folder;
  for (const std::size_t step : {1, 2, 3, 5, 7, 12, 59, 60, 100}) {
    CAPTURE(step);
    const TensorView big = open(folder.write("m.msgpack", flax_chunks({3, 4, 5}, 60, step))).tensor("big");
    CHECK(big.shape() == Shape{3, 4, 5});
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t j = 0; j < 4; ++j)
        for (std::int64_t k = 0; k < 5; ++k) CHECK(big.read<float>(i, j, k) == static_cast<float>((i * 4 + j) * 5 + k));
    CHECK(big.slice(1, 1, 3).read<float>(2, 1, 4) == 54.0F);
  }
}

namespace {

std::string plain_record(const std::string& values) {
  return map({text("metadata"), map({text("float"), text("f32")}), text("item"), map({text("fc"), values})});
}

template <class Make>
std::string many(std::size_t count, Make make) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < count; ++i) items.push_back(make(i));
  return list(items);
}

}  // namespace

TEST_CASE("packs: a list of numbers stays a list record, and is a view of its numbers") {
  const TempFolder folder;
  const auto real = [](std::size_t i) { return real32(static_cast<float>(i) / 4); };
  const auto mixed = [](std::size_t i) { return i % 3 == 0 ? integer(-static_cast<std::int64_t>(i)) : natural(i); };
  for (const std::size_t count : {std::size_t{3}, std::size_t{200}, std::size_t{10'000}}) {
    CAPTURE(count);
    const auto path = folder.write(
        "m.mpk",
        plain_record(map({text("reals"), many(count, real), text("integers"), many(count, mixed), text("flags"),
                          many(count, [](std::size_t i) { return test::pack::boolean(i % 2 == 1); })})));
    const Checkpoint burn = open(path);
    CHECK(burn.tensors().empty());
    const Record fc = burn.root()["fc"];
    CHECK(fc["reals"].kind() == RecordKind::list);
    CHECK(fc["reals"].size() == count);
    CHECK(fc["reals"][2].real() == 0.5);
    CHECK(fc["integers"][1].integer() == 1);
    CHECK(fc["integers"].child(count - count % 3 - (count % 3 == 0 ? 3 : 0)).integer() <= 0);
    const TensorView integers = fc["integers"].numbers();
    CHECK(integers.dtype() == DType::i64);
    CHECK(integers.shape() == Shape{static_cast<std::int64_t>(count)});
    CHECK(integers.name() == "fc.integers");
    CHECK(integers.shard_path() == path.string());
    CHECK(integers.is_spelled());
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{2}, count - 1})
      CHECK(integers.read<std::int64_t>(i) ==
            (i % 3 == 0 ? -static_cast<std::int64_t>(i) : static_cast<std::int64_t>(i)));
    CHECK(test::thrown_by([&] { return integers.as<std::int64_t>(); }).code() == ErrorCode::type_mismatch);
    const TensorView reals = fc["reals"].numbers();
    CHECK(reals.dtype() == DType::f32);
    CHECK(reals.read<float>(2) == 0.5F);
    CHECK(fc["flags"].numbers().dtype() == DType::boolean);
    CHECK(fc["flags"].numbers().read<heft::boolean>(1).bits == 1);
  }
}

TEST_CASE("packs: a list of numbers is a view if one dtype has each of them") {
  const TempFolder folder;
  const Checkpoint burn = open(folder.write(
      "m.mpk",
      plain_record(map({text("mixed"), list({natural(1), test::pack::boolean(true)}), text("texts"), list({text("a")}),
                        text("one"), natural(3), text("wide"), list({natural(UINT64_MAX), natural(1)}),
                        text("impossible"), list({natural(UINT64_MAX), integer(-1)})}))));
  const Record fc = burn.root()["fc"];
  for (const char* name : {"mixed", "texts", "one"})
    CHECK(test::thrown_by([&] { return fc[name].numbers(); }).code() == ErrorCode::type_mismatch);
  CHECK(fc["wide"].numbers().dtype() == DType::u64);
  CHECK(fc["wide"].numbers().read<std::uint64_t>(0) == UINT64_MAX);
  const Error error = test::thrown_by([&] { return fc["impossible"].numbers(); });
  CHECK(error.code() == ErrorCode::out_of_range);
  CHECK(error.tensor() == "fc.impossible");
}

TEST_CASE("packs: integers and reals in one list are f64 where each integer is exact, in MessagePack and CBOR") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  constexpr std::int64_t bound = std::int64_t{1} << 53;
  // Integers by their value; -1: a real of 64 bits, -2: of 32 bits.
  const auto lists_of = [&](const std::vector<std::int64_t>& values) {
    std::vector<std::string> packed, items;
    for (const std::int64_t value : values) {
      packed.push_back(value == -1 ? real64(0.1) : value == -2 ? real32(0.1F) : integer(value));
      items.push_back(value == -1   ? cbor::real_bits(std::bit_cast<std::uint64_t>(0.1))
                      : value == -2 ? "\xFA" + cbor::big(std::bit_cast<std::uint32_t>(0.1F), 4)
                      : value < 0   ? cbor::negative(static_cast<std::uint64_t>(-1 - value))
                                    : cbor::natural(static_cast<std::uint64_t>(value)));
    }
    std::string metadata = cbor::map({cbor::text("tensors"), cbor::map({}), cbor::text("later"), cbor::list(items)});
    std::string file = std::string("NRUB\1\0", 6) + test::little(metadata.size(), 4) + metadata;
    file.resize((file.size() + 255) / 256 * 256);
    const std::string record = plain_record(map({text("list"), list(packed)}));
    return std::vector<Record>{open(folder.write("m.mpk", record)).root()["fc"]["list"],
                               open(folder.write("m.mpk.gz", gzip(record))).root()["fc"]["list"],
                               open(folder.write("m.bpk", file)).metadata()["later"]};
  };
  for (const std::size_t count : {3, 31, 32, 3000}) {
    CAPTURE(count);
    std::vector<std::int64_t> values(count, 5);
    for (std::size_t i = 0; i < count; ++i)
      values[i] = i % 5 == 0 ? -1 : i % 5 == 1 ? -2 : static_cast<std::int64_t>(i) * (i % 2 == 0 ? 300 : -300);
    values[2] = -bound;
    values.push_back(bound);
    for (const Record& list : lists_of(values)) {
      const TensorView view = list.numbers();
      CHECK(view.dtype() == DType::f64);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < values.size(); i += i < 40 ? 1 : 37) {
        const double expected = values[i] == -1 ? 0.1 : values[i] == -2 ? double{0.1F} : static_cast<double>(values[i]);
        wrong += view.read<double>(i) != expected || list[i].real() != expected;
      }
      CHECK(wrong == 0);
    }
    values.back() = bound + 1;
    for (const Record& list : lists_of(values)) {
      CHECK(list[count].integer() == bound + 1);
      const Error error = test::thrown_by([&] { return list.numbers(); });
      CHECK(error.code() == ErrorCode::type_mismatch);
      CHECK(error.message().find("2^53") != std::string::npos);
      CHECK(error.message().find(fmt::format("item {} ", count)) != std::string::npos);
    }
  }
}

TEST_CASE("packs: unknown keys of a burnpack file are metadata, also lists of numbers") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  const std::string metadata = cbor::map(
      {cbor::text("tensors"), cbor::map({}), cbor::text("later"),
       cbor::map({cbor::text("sizes"), cbor::list({cbor::natural(1), cbor::natural(300)}), cbor::text("rates"),
                  cbor::list({cbor::real_bits(0x3FE0000000000000), cbor::real_bits(0)})})});
  std::string file = std::string("NRUB\1\0", 6) + std::string(4, '\0') + metadata;
  file[6] = static_cast<char>(metadata.size());
  file.resize(256);
  const Record later = open(folder.write("m.bpk", file)).metadata()["later"];
  CHECK(later["sizes"].kind() == RecordKind::list);
  CHECK(later["sizes"].numbers().read<std::int64_t>(1) == 300);
  CHECK(later["rates"].numbers().dtype() == DType::f64);
  CHECK(later["rates"].numbers().read<double>(0) == 0.5);
  CHECK(test::thrown_by([&] { return later["rates"].numbers().as<double>(); }).code() == ErrorCode::type_mismatch);
}

namespace {

// A burnpack file without tensors, with one more key in its metadata.
std::string pack_with(const std::string& value) {
  namespace cbor = test::cbor;
  const std::string metadata = cbor::map({cbor::text("tensors"), cbor::map({}), cbor::text("later"), value});
  std::string file = std::string("NRUB\1\0", 6) + test::little(metadata.size(), 4) + metadata;
  file.resize((file.size() + 255) / 256 * 256);
  return file;
}

std::string cbor_integer(std::int64_t value) {
  return value < 0 ? test::cbor::negative(static_cast<std::uint64_t>(-1 - value))
                   : test::cbor::natural(static_cast<std::uint64_t>(value));
}

// The shortest real that has the value, as serializers of Rust write it.
std::string cbor_real(double value) {
  const auto single = static_cast<float>(value);
  if (value == 1.5) return std::string("\xF9\x3E\x00", 3);
  if (single == value) return "\xFA" + test::cbor::big(std::bit_cast<std::uint32_t>(single), 4);
  return test::cbor::real_bits(std::bit_cast<std::uint64_t>(value));
}

}  // namespace

TEST_CASE("packs: long lists of numbers in CBOR are read from the file, as element by element") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  for (const std::size_t count : {31, 32, 1000, 1024, 1025, 5000}) {
    CAPTURE(count);
    const auto whole = [](std::size_t i) {
      const auto value = static_cast<std::int64_t>(std::uint64_t{0x9E3779B97F4A7C15} * (i + 1) >> (i * 5 % 64));
      return i % 3 == 0   ? value
             : i % 3 == 1 ? static_cast<std::int64_t>(i % 24) - 12
                          : std::int64_t{70'000} + static_cast<std::int64_t>(i);
    };
    const auto real = [](std::size_t i) { return i % 4 == 0 ? 1.5 : i % 4 == 1 ? 0.1 : static_cast<double>(i) / 4; };
    std::vector<std::string> integers, naturals, reals, wide_reals, flags;
    for (std::size_t i = 0; i < count; ++i) {
      integers.push_back(cbor_integer(whole(i)));
      naturals.push_back(cbor::natural(i == count / 2 ? UINT64_MAX : i));
      reals.push_back(cbor_real(real(i)));
      wide_reals.push_back(cbor::real_bits(std::bit_cast<std::uint64_t>(real(i))));
      flags.push_back(cbor::boolean(i % 3 == 0));
    }
    const auto path = folder.write(
        "m.bpk", pack_with(cbor::map({cbor::text("integers"), cbor::list(integers), cbor::text("naturals"),
                                      cbor::list(naturals), cbor::text("reals"), cbor::list(reals), cbor::text("wide"),
                                      cbor::list(wide_reals), cbor::text("flags"), cbor::list(flags),
                                      cbor::text("nested"), cbor::list({cbor::list(reals), cbor::list(integers)})})));
    for (const Access access : {Access::map, Access::read}) {
      const Record later = open(path, {.access = access}).metadata()["later"];
      std::size_t wrong = 0;
      const TensorView views[] = {later["integers"].numbers(), later["naturals"].numbers(),
                                  later["reals"].numbers(),    later["wide"].numbers(),
                                  later["flags"].numbers(),    later["nested"][1].numbers()};
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t natural = i == count / 2 ? UINT64_MAX : i;
        wrong += later["integers"][i].integer() != whole(i);
        wrong += later["naturals"][i].unsigned_integer() != natural;
        wrong += later["reals"][i].real() != real(i);
        wrong += later["wide"][i].real() != real(i);
        wrong += later["flags"][i].boolean() != (i % 3 == 0);
        if (i % 7 != 0 && i + 1 != count) continue;
        wrong += views[0].read<std::int64_t>(i) != whole(i);
        wrong += views[1].read<std::uint64_t>(i) != natural;
        wrong += views[2].read<double>(i) != real(i);
        wrong += views[3].read<double>(i) != real(i);
        wrong += (views[4].read<heft::boolean>(i).bits != 0) != (i % 3 == 0);
        wrong += views[5].read<std::int64_t>(i) != whole(i);
      }
      CHECK(wrong == 0);
      CHECK(later["reals"].size() == count);
      CHECK(later["nested"][0].child(count - 1).path().ends_with("nested.0." + std::to_string(count - 1)));
      CHECK(test::thrown_by([&] { return views[2].as<double>(); }).code() == ErrorCode::type_mismatch);
    }
  }
}

TEST_CASE("packs: lists in CBOR of anything else, or cut, are as they were") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  const std::vector<std::string> numbers(100, cbor::natural(1000));
  const auto with = [&](const std::string& item) {
    std::vector<std::string> items = numbers;
    items[70] = item;
    return open(folder.write("m.bpk", pack_with(cbor::list(items)))).metadata()["later"];
  };
  CHECK(with(cbor::text("t"))[70].text() == "t");
  CHECK(with(cbor::text("t"))[99].integer() == 1000);
  CHECK(with(cbor::list({cbor::natural(5)}))[70][0].integer() == 5);
  CHECK(with(cbor::real_bits(0))[70].real() == 0);
  CHECK(with(cbor::real_bits(0)).numbers().dtype() == DType::f64);
  CHECK(with(cbor::boolean(true))[70].boolean());
  const Error odd = test::thrown_by([&] { return with(cbor::boolean(true)).numbers(); });
  CHECK(odd.code() == ErrorCode::type_mismatch);
  CHECK(odd.message() == "expected a list of numbers of one kind, item 70 is another");
  CHECK(test::thrown_by([&] { return with(cbor::negative(UINT64_MAX)); }).code() == ErrorCode::unsupported);
  CHECK(test::thrown_by([&] { return with("\xC1" + cbor::natural(1)); }).code() == ErrorCode::unsupported);
  // A head that declares more items than there are, or than there can be.
  const std::string list = cbor::list(numbers);
  for (const std::uint64_t count : {std::uint64_t{101}, std::uint64_t{250}, std::uint64_t{1} << 60}) {
    CAPTURE(count);
    const std::string value = cbor::head(4, count) + list.substr(2);
    CHECK(test::thrown_by([&] { return open(folder.write("m.bpk", pack_with(value))); }).code() == ErrorCode::corrupt);
  }
  const std::string cut = "\x9F" + list.substr(2);
  CHECK(test::thrown_by([&] { return open(folder.write("m.bpk", pack_with(cut))); }).code() == ErrorCode::corrupt);
  OpenOptions options;
  options.limits.metadata_items = 50;
  const auto path = folder.write("m.bpk", pack_with(list));
  CHECK(test::thrown_by([&] { return open(path, options); }).code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.metadata_memory_bytes = 20;
  CHECK(test::thrown_by([&] { return open(path, options); }).code() == ErrorCode::limit_exceeded);
}

TEST_CASE("packs: lists of indefinite length in CBOR are those of definite length") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  for (const std::size_t count : {0, 1, 31, 32, 1024, 100'000}) {
    CAPTURE(count);
    std::vector<std::string> integers, reals;
    for (std::size_t i = 0; i < count; ++i) {
      integers.push_back(cbor::natural(i * 300));
      reals.push_back(cbor_real(static_cast<double>(i) / 4));
    }
    std::vector<std::string> ending = integers;
    ending.push_back(cbor::indefinite(3, {cbor::text("t"), cbor::text("ext")}));
    const auto path = folder.write(
        "m.bpk", pack_with(cbor::indefinite(5, {cbor::text("integers"), cbor::indefinite(4, integers),
                                                cbor::text("reals"), cbor::indefinite(4, reals), cbor::text("ending"),
                                                cbor::indefinite(4, ending), cbor::text("after"), cbor::natural(7)})));
    const Record later = open(path).metadata()["later"];
    CHECK(later["after"].integer() == 7);
    CHECK(later["integers"].size() == count);
    CHECK(later["reals"].size() == count);
    REQUIRE(later["ending"].size() == count + 1);
    CHECK(later["ending"][count].text() == "text");
    if (count == 0) continue;
    CHECK(later["integers"].numbers().dtype() == DType::i64);
    CHECK(later["reals"].numbers().dtype() == DType::f64);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; i += 1 + count / 1000) {
      wrong += later["integers"][i].unsigned_integer() != i * 300 || later["ending"][i].unsigned_integer() != i * 300;
      wrong += later["reals"][i].real() != static_cast<double>(i) / 4;
      wrong += later["integers"].numbers().read<std::int64_t>(i) != static_cast<std::int64_t>(i) * 300;
    }
    CHECK(wrong == 0);
  }
  // Numbers that are stepped over count as items, and as places.
  const std::string list = cbor::indefinite(4, std::vector<std::string>(100, cbor::natural(1000)));
  const auto path = folder.write("m.bpk", pack_with(list));
  OpenOptions options;
  options.limits.metadata_items = 110;
  CHECK(open(path, options).metadata()["later"].size() == 100);
  options.limits.metadata_items = 50;
  CHECK(test::thrown_by([&] { return open(path, options); }).code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.metadata_memory_bytes = 20;
  CHECK(test::thrown_by([&] { return open(path, options); }).code() == ErrorCode::limit_exceeded);
}

TEST_CASE("packs: a list of millions in CBOR opens in the memory of its places") {
  namespace cbor = test::cbor;
  const TempFolder folder;
  constexpr std::size_t count = 5'000'000;
  std::filesystem::path path;
  {
    std::string list = cbor::head(4, count);
    for (std::size_t i = 0; i < count; ++i)
      list += cbor::real_bits(std::bit_cast<std::uint64_t>(static_cast<double>(i)));
    path = folder.write("m.bpk", pack_with(list));
  }
  const bool measured = test::reset_peak() && !test::memory_is_shadowed();
  const std::uint64_t before = test::resident_bytes();
  const Record later = open(path).metadata()["later"];
  CHECK(later.size() == count);
  CHECK(later[count - 1].real() == static_cast<double>(count - 1));
  CHECK(later.numbers().read<double>(count - 2) == static_cast<double>(count - 2));
  if (measured) CHECK(test::peak_resident_bytes() < before + (16u << 20));
}

namespace {

// A number and its value: the bits of a real, or two's complement.
struct Spelled {
  std::string bytes;
  std::uint64_t bits = 0;
};

// Every width of MessagePack's integers in turn, with its largest and smallest values among them.
Spelled packed_integer(std::size_t i) {
  const std::uint64_t mixed = std::uint64_t{0x9E3779B97F4A7C15} * (i + 1);
  const auto low = [&](unsigned bytes) { return mixed & ~std::uint64_t{0} >> (64 - 8 * bytes); };
  const auto natural = [&](const char* head, unsigned bytes) {
    return Spelled{sized(head, low(bytes), bytes), low(bytes)};
  };
  const auto negative = [&](const char* head, unsigned bytes) {
    const unsigned unused = 64 - 8 * bytes;
    return Spelled{sized(head, low(bytes), bytes),
                   static_cast<std::uint64_t>(static_cast<std::int64_t>(low(bytes) << unused) >> unused)};
  };
  switch (i % 10) {
    case 0: return {std::string(1, static_cast<char>(mixed & 0x7F)), mixed & 0x7F};
    case 1: return {std::string(1, static_cast<char>(0xE0 | (mixed & 0x1F))), ~std::uint64_t{0x1F} | (mixed & 0x1F)};
    case 2: return natural("\xCC", 1);
    case 3: return natural("\xCD", 2);
    case 4: return natural("\xCE", 4);
    case 5: return negative("\xD0", 1);
    case 6: return negative("\xD1", 2);
    case 7: return negative("\xD2", 4);
    case 8: return negative("\xD3", 8);
    default: return {sized("\xCF", mixed >> 1, 8), mixed >> 1};
  }
}

}  // namespace

TEST_CASE("packs: long lists of numbers in MessagePack are read from the file, as element by element") {
  const TempFolder folder;
  for (const std::size_t count : {31, 32, 1000, 1025, 200'000}) {
    CAPTURE(count);
    std::vector<Spelled> integers;
    std::string items;
    for (std::size_t i = 0; i < count; ++i) items += integers.emplace_back(packed_integer(i)).bytes;
    const auto real = [](std::size_t i) { return static_cast<double>(i) / 4 - 7; };
    const std::string record =
        plain_record(map({text("integers"), sized("\xDD", count, 4) + items, text("naturals"),
                          many(count, [&](std::size_t i) { return natural(i == count / 2 ? UINT64_MAX : i); }),
                          text("reals"), many(count, [&](std::size_t i) { return real64(real(i)); }), text("halves"),
                          many(count, [&](std::size_t i) { return real32(static_cast<float>(real(i))); }),
                          text("flags"), many(count, [](std::size_t i) { return test::pack::boolean(i % 3 == 0); })}));
    for (const bool packed : {false, true})
      for (const Access access : {Access::map, Access::read}) {
        const auto path = folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(record) : record);
        const Record fc = open(path, {.access = access}).root()["fc"];
        const TensorView views[] = {fc["integers"].numbers(), fc["naturals"].numbers(), fc["reals"].numbers(),
                                    fc["halves"].numbers(), fc["flags"].numbers()};
        CHECK(views[0].dtype() == DType::i64);
        CHECK(views[1].dtype() == DType::u64);
        CHECK(views[2].dtype() == DType::f64);
        CHECK(views[3].dtype() == DType::f32);
        CHECK(views[4].dtype() == DType::boolean);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < count; i += i % 100 < 40 ? 1 : 97) {
          wrong += fc["integers"][i].integer() != static_cast<std::int64_t>(integers[i].bits);
          wrong += fc["naturals"][i].unsigned_integer() != (i == count / 2 ? UINT64_MAX : i);
          wrong += fc["reals"][i].real() != real(i) || fc["halves"][i].real() != real(i);
          wrong += fc["flags"][i].boolean() != (i % 3 == 0);
        }
        const auto same = [&](const TensorView& view, auto element) {
          for (std::size_t i = 0; i < count; i += count / 31) wrong += !element(view, i);
        };
        same(views[0], [&](const TensorView& view, std::size_t i) {
          return view.read<std::int64_t>(i) == static_cast<std::int64_t>(integers[i].bits);
        });
        same(views[1], [&](const TensorView& view, std::size_t i) {
          return view.read<std::uint64_t>(i) == (i == count / 2 ? UINT64_MAX : i);
        });
        same(views[2], [&](const TensorView& view, std::size_t i) { return view.read<double>(i) == real(i); });
        same(views[3], [&](const TensorView& view, std::size_t i) { return view.read<float>(i) == real(i); });
        same(views[4], [&](const TensorView& view, std::size_t i) {
          return (view.read<heft::boolean>(i).bits != 0) == (i % 3 == 0);
        });
        CHECK(wrong == 0);
      }
  }
}

TEST_CASE("packs: numbers of a MessagePack file that changed are an error, not other numbers") {
  const TempFolder folder;
  const std::string record =
      plain_record(map({text("list"), many(5000, [](std::size_t i) { return real64(static_cast<double>(i)); })}));
  const auto path = folder.write("m.mpk", record);
  const Record list = open(path, {.access = Access::read}).root()["fc"]["list"];
  const TensorView view = list.numbers();
  CHECK(list[0].real() == 0);
  std::string changed = record;
  changed[changed.size() - 9] = '\1';
  static_cast<void>(folder.write("m.mpk", changed));
  CHECK(test::thrown_by([&] { return list[4999]; }).code() == ErrorCode::changed_on_disk);
  CHECK(test::thrown_by([&] { return view.read<double>(4999); }).code() == ErrorCode::changed_on_disk);
}

TEST_CASE("packs: a list of millions in MessagePack opens in the memory of its places") {
  const TempFolder folder;
  constexpr std::size_t count = 5'000'000;
  std::filesystem::path path;
  {
    std::string items = sized("\xDD", count, 4);
    for (std::size_t i = 0; i < count; ++i) items += real64(static_cast<double>(i));
    path = folder.write("m.mpk", plain_record(map({text("list"), items})));
  }
  const bool measured = test::reset_peak() && !test::memory_is_shadowed();
  const std::uint64_t before = test::resident_bytes();
  const Checkpoint checkpoint = open(path);
  const Record list = checkpoint.root()["fc"]["list"];
  CHECK(list.size() == count);
  CHECK(list[count - 1].real() == static_cast<double>(count - 1));
  CHECK(list.numbers().read<double>(count - 2) == static_cast<double>(count - 2));
  CHECK(checkpoint.table_bytes() < 1u << 20);
  if (measured) CHECK(test::peak_resident_bytes() < before + (16u << 20));
}

TEST_CASE("packs: the metadata budget has the places of numbers, and those that were inflated") {
  const TempFolder folder;
  const std::string zeros(2'000'000, '\0');
  const std::string record = plain_record(map({text("zeros"), sized("\xDD", zeros.size(), 4) + zeros}));
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const auto path = folder.write(packed ? "z.mpk.gz" : "z.mpk", packed ? gzip(record) : record);
    const TensorView zeros_view = open(path).root()["fc"]["zeros"].numbers();
    CHECK(zeros_view.shape() == Shape{2'000'000});
    OpenOptions options;
    options.limits.metadata_memory_bytes = packed ? 1'000'000 : 20'000;
    const Error error = test::thrown_by([&] { return open(path, options); });
    CHECK(error.code() == ErrorCode::limit_exceeded);
    CHECK(error.message().find("metadata_memory_bytes") != std::string::npos);
    options.limits.metadata_memory_bytes = packed ? 4'000'000 : 200'000;
    CHECK(open(path, options).root()["fc"]["zeros"].size() == zeros.size());
  }
}
