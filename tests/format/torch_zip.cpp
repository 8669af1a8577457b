#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "format/formats.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;

namespace {

using Records = std::vector<ZipRecord>;

const std::string payload = packed<float>({1, 2, 3, 4});

/// A state dict of one tensor, w = [[1, 2], [3, 4]], as torch.save writes it.
Records state_dict() {
  using namespace heft::test::pickle;
  const std::string object = dict({text("w"), tensor("0", 4, 0, {2, 2}, {2, 1}), text("epoch"), integer(7)});
  return {{.name = "m/data.pkl", .content = proto() + object + ".", .alignment = 64},
          {.name = "m/byteorder", .content = "little"},
          {.name = "m/data/0", .content = payload, .alignment = 64},
          {.name = "m/version", .content = "3\n"}};
}

ZipRecord& record(Records& records, std::string_view name) {
  for (ZipRecord& candidate : records)
    if (candidate.name == name) return candidate;
  throw std::logic_error("no such record in the test's archive");
}

void remove(Records& records, std::string_view name) {
  std::erase_if(records, [&](const ZipRecord& candidate) { return candidate.name == name; });
}

std::string archive(const std::function<void(Records&)>& change = [](Records&) {}) {
  Records records = state_dict();
  change(records);
  ZipBuilder zip;
  for (ZipRecord& made : records) zip.add(std::move(made));
  return zip.build();
}

struct Row {
  const char* what;
  std::function<void(Records&)> change;
};

const std::vector<Row> legal = {
    {"as PyTorch writes it", [](Records&) {}},
    {"no byteorder, as before 2.1", [](Records& r) { remove(r, "m/byteorder"); }},
    {"the version where TorchScript has it", [](Records& r) { record(r, "m/version").name = "m/.data/version"; }},
    {"the newest version", [](Records& r) { record(r, "m/version").content = "10"; }},
    {"records that no reader uses", [](Records& r) { r.push_back({.name = "m/extra/readme", .content = "plain"}); }},
    {"a deflated record that no reader uses",
     [](Records& r) { r.push_back({.name = "m/code/x.py", .content = std::string(99, 'x'), .deflate = true}); }},
    {"a deflated pickle", [](Records& r) { record(r, "m/data.pkl").deflate = true; }},
    {"a deflated storage", [](Records& r) { record(r, "m/data/0").deflate = true; }},
    {"another order", [](Records& r) { std::swap(r.front(), r.back()); }},
    {"no alignment", [](Records& r) { record(r, "m/data/0").alignment = 1; }},
    {"sizes in the local header", [](Records& r) { record(r, "m/data/0").descriptor = false; }},
    {"zip64 sizes", [](Records& r) { record(r, "m/data/0").zip64 = true; }},
    {"no checksum of the pickle", [](Records& r) { record(r, "m/data.pkl").crc32 = 0; }},
    {"a wrong checksum of a storage, which verify looks at", [](Records& r) { record(r, "m/data/0").crc32 = 1; }},
};

struct Hostile {
  const char* what;
  std::function<void(Records&)> change;
  ErrorCode code;
  const char* words;
};

const std::vector<Hostile> hostile = {
    {"no version", [](Records& r) { remove(r, "m/version"); }, ErrorCode::corrupt, "m/version"},
    {"version 0", [](Records& r) { record(r, "m/version").content = "0"; }, ErrorCode::corrupt, "version record"},
    {"a version of letters", [](Records& r) { record(r, "m/version").content = "3x"; }, ErrorCode::corrupt, "'3x'"},
    {"a version of the future", [](Records& r) { record(r, "m/version").content = "11\n"; }, ErrorCode::unsupported,
     "version 11"},
    {"a version of a megabyte", [](Records& r) { record(r, "m/version").content = std::string(1 << 20, '3'); },
     ErrorCode::limit_exceeded, "the 64 that heft reads"},
    {"an unknown byteorder", [](Records& r) { record(r, "m/byteorder").content = "middle"; }, ErrorCode::corrupt,
     "'middle'"},
    {"a byteorder with a line feed", [](Records& r) { record(r, "m/byteorder").content = "little\n"; },
     ErrorCode::corrupt, "byteorder"},
    {"an empty byteorder", [](Records& r) { record(r, "m/byteorder").content = ""; }, ErrorCode::corrupt, "byteorder"},
    {"no pickle", [](Records& r) { remove(r, "m/data.pkl"); }, ErrorCode::corrupt, "data.pkl"},
    {"a PT2 archive", [](Records& r) { r.push_back({.name = "m/archive_format", .content = "pt2"}); },
     ErrorCode::unsupported, "PT2"},
    {"two folders", [](Records& r) { record(r, "m/version").name = "n/version"; }, ErrorCode::ambiguous,
     "folder of the first"},
    {"no folder", [](Records& r) { record(r, "m/version").name = "version"; }, ErrorCode::corrupt, "in a folder"},
    {"two pickles", [](Records& r) { r.push_back({.name = "m/data.pkl", .content = "N."}); }, ErrorCode::ambiguous,
     "another record"},
    {"a pickle's twin in capitals", [](Records& r) { r.push_back({.name = "m/DATA.PKL", .content = "N."}); },
     ErrorCode::ambiguous, "another record"},
    {"bytes after the pickle", [](Records& r) { record(r, "m/data.pkl").content += "N."; }, ErrorCode::ambiguous,
     "2 bytes after its STOP"},
    {"a wrong checksum of the pickle", [](Records& r) { record(r, "m/data.pkl").crc32 = 1; }, ErrorCode::corrupt,
     "CRC-32"},
    {"a pickle of another local name", [](Records& r) { record(r, "m/data.pkl").local_name = "m/evil.pkl"; },
     ErrorCode::ambiguous, "another name"},
    {"a deflated pickle over the limit",
     [](Records& r) {
       record(r, "m/data.pkl").deflate = true;
       record(r, "m/data.pkl").full_size = std::uint64_t{1} << 30;
     },
     ErrorCode::limit_exceeded, "pickle_bytes"},
    {"no storage", [](Records& r) { remove(r, "m/data/0"); }, ErrorCode::corrupt, "no bytes for storage '0'"},
    {"a storage too short", [](Records& r) { record(r, "m/data/0").content.pop_back(); }, ErrorCode::corrupt,
     "16 bytes, found 15"},
    {"a storage too long", [](Records& r) { record(r, "m/data/0").content += "x"; }, ErrorCode::corrupt,
     "16 bytes, found 17"},
    {"an encrypted storage", [](Records& r) { record(r, "m/data/0").flags = 0x0809; }, ErrorCode::unsupported,
     "encrypted"},
    {"a storage of another method locally", [](Records& r) { record(r, "m/data/0").local_method = 8; },
     ErrorCode::ambiguous, "compression method"},
    {"a storage over the pickle", [](Records& r) { record(r, "m/data/0").header = 0; }, ErrorCode::ambiguous,
     "reach past"},
    {"a deflated storage that cannot be",
     [](Records& r) {
       record(r, "m/data/0").deflate = true;
       record(r, "m/data/0").full_size = 0x7FFF'FFFF;
     },
     ErrorCode::corrupt, "cannot inflate"},
    {"a record name that climbs", [](Records& r) { r.push_back({.name = "m/../x", .content = ""}); },
     ErrorCode::refused, "climbs"},
};

format::Catalog read(const std::string& file, const format::ReadOptions& options = {}) {
  return read_bytes(format::torch_zip_format, file, options);
}

}  // namespace

TEST_CASE("torch zip: files of PyTorch and of zip programs have the same state dict") {
  for (const Row& row : legal) {
    INFO(std::string(row.what));
    const std::string file = archive(row.change);
    const format::Catalog catalog = open_bytes(file);
    REQUIRE(catalog.tensors.size() == 1);
    const format::TensorEntry& tensor = tensor_of(catalog, "w");
    CHECK(tensor.dtype == DType::f32);
    CHECK(elements_of(catalog, tensor, file) == payload);
    REQUIRE(value_of(catalog, "epoch") != nullptr);
    CHECK(value_of(catalog, "epoch")->integer == 7);
  }
}

TEST_CASE("torch zip: refuses hostile archives, each with its reason") {
  for (const Hostile& row : hostile) {
    INFO(std::string(row.what));
    const std::string file = archive(row.change);
    const Error error = thrown_by([&] { return read(file); });
    INFO(std::string(error.what()));
    CHECK(name(error.code()) == name(row.code));
    CHECK(error.message().find(row.words) != std::string::npos);
  }
}

TEST_CASE("torch zip: an error in the pickle has the offset in the file") {
  const std::string file = archive([](Records& r) { record(r, "m/data.pkl").content = "\x80\x02K\x01K\x02\x93."; });
  const Error error = thrown_by([&] { return read(file); });
  REQUIRE(error.offset());
  CHECK(file.at(*error.offset()) == '\x93');
}

TEST_CASE("torch zip: marks big-endian storages, and uses the caller's byte order without a record of it") {
  const auto flags = [](const char* order, bool big_by_default) {
    const std::string file = archive([&](Records& r) {
      if (order == nullptr)
        remove(r, "m/byteorder");
      else
        record(r, "m/byteorder").content = order;
    });
    return read(file, {.torch = {.big_endian_default = big_by_default}}).tensors.at(0).flags;
  };
  CHECK(flags("little", true) == 0);
  CHECK(flags("big", false) == format::swapped);
  CHECK(flags(nullptr, false) == 0);
  CHECK(flags(nullptr, true) == format::swapped);
}

TEST_CASE("torch zip: many storages are found in whatever order the archive has them") {
  using namespace heft::test::pickle;
  constexpr int count = 300;
  for (const bool backwards : {false, true}) {
    std::vector<std::string> pairs;
    Records records;
    for (int i = 0; i < count; ++i) {
      const std::string key = std::to_string(i);
      pairs.insert(pairs.end(), {text("t" + key), tensor(key, 1, 0, {1}, {1})});
      records.push_back({.name = "m/data/" + key, .content = packed<float>({static_cast<float>(i)})});
    }
    if (backwards) std::reverse(records.begin(), records.end());
    const std::string file = archive([&](Records& r) {
      record(r, "m/data.pkl").content = proto() + dict(pairs) + ".";
      remove(r, "m/data/0");
      r.insert(r.end(), records.begin(), records.end());
    });
    const format::Catalog catalog = open_bytes(file);
    REQUIRE(catalog.tensors.size() == count);
    for (int i = 0; i < count; ++i) {
      const format::TensorEntry& found = tensor_of(catalog, "t" + std::to_string(i));
      REQUIRE(number_at(DType::f32, elements_of(catalog, found, file), 0) == i);
    }
  }
}

TEST_CASE("torch zip: distinguishes storage keys that spell the same number") {
  using namespace heft::test::pickle;
  const std::string file = archive([](Records& r) {
    record(r, "m/data.pkl").content = proto() +
                                      dict({text("a"), tensor("0", 4, 0, {4}, {1}), text("b"),
                                            tensor("00", 1, 0, {1}, {1}), text("c"), tensor("0", 4, 2, {2}, {1})}) +
                                      ".";
    r.push_back({.name = "m/data/00", .content = packed<float>({9})});
  });
  const format::Catalog catalog = open_bytes(file);
  CHECK(elements_of(catalog, tensor_of(catalog, "b"), file) == packed<float>({9}));
  CHECK(tensor_of(catalog, "a").begin == tensor_of(catalog, "c").begin);
  CHECK(elements_of(catalog, tensor_of(catalog, "c"), file) == packed<float>({3, 4}));
}

TEST_CASE("torch zip: refuses every prefix, and a flipped bit is refused or harmless") {
  for (const bool deflate : {false, true}) {
    const std::string file = archive([&](Records& r) {
      record(r, "m/data.pkl").deflate = deflate;
      record(r, "m/data/0").deflate = deflate;
    });
    CHECK(is_read(format::torch_zip_format, file));
    CHECK(readable_prefixes(format::torch_zip_format, file) == 0);
    flip_every_bit(format::torch_zip_format, file, file.size());
  }
}
