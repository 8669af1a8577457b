#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "format/formats.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/tar_builder.hpp"
#include "support/thrown.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;
using namespace heft::test::pickle;

namespace {

/// Two tensors that share one storage of four floats, the second through a view of it: as PyTorch wrote in 2016.
std::vector<TarMember> members() {
  const std::string floats = packed<float>({1, 2, 3, 4});
  const std::string storages =
      pickled(integer(1)) + pickled(tuple({integer(10), text("cpu"), global("torch", "FloatStorage")})) + little(4, 8) +
      floats + pickled(list({tuple({integer(11), integer(10), integer(1), integer(3)})}));
  const auto entry = [](int key, int storage, int size, int offset) {
    return pickled(tuple({integer(key), integer(storage), global("torch", "FloatTensor")})) + little(1, 4) +
           little(0, 4) + little(static_cast<std::uint64_t>(size), 8) + little(1, 8) +
           little(static_cast<std::uint64_t>(offset), 8);
  };
  return {{"sys_info", pickled(dict({text("protocol_version"), integer(1000)}))},
          {"storages", storages},
          {"tensors", pickled(integer(2)) + entry(100, 10, 4, 0) + entry(101, 11, 2, 1)},
          {"pickle", pickled(dict({text("whole"), integer(100) + "Q", text("part"), integer(101) + "Q"}))}};
}

TarMember pax(const std::string& line, char type = 'x') {
  // The length counts its own digits; these lines are all of two.
  return {"PaxHeaders/x", std::to_string(line.size() + 4) + " " + line + "\n", type};
}

std::string with(const TarMember& extra) {
  std::vector<TarMember> all = members();
  all.insert(all.begin() + 1, extra);
  return tar_file(all);
}

struct Hostile {
  const char* what;
  std::string file;
  ErrorCode code;
  const char* words;
};

std::string without(std::string_view name) {
  std::vector<TarMember> all = members();
  std::erase_if(all, [&](const TarMember& member) { return member.name == name; });
  return tar_file(all);
}

std::string changed(std::size_t at, char to) {
  std::string file = tar_file(members());
  file[at] = to;
  return file;
}

}  // namespace

TEST_CASE("torch tar: tensors of the table, and views of storages, are found by their keys") {
  const std::string file = tar_file(members());
  const format::Catalog catalog = open_bytes(file);
  CHECK(catalog.format == "torch-tar");
  CHECK(elements_of(catalog, tensor_of(catalog, "whole"), file) == packed<float>({1, 2, 3, 4}));
  CHECK(elements_of(catalog, tensor_of(catalog, "part"), file) == packed<float>({3, 4}));
  CHECK(tensor_of(catalog, "whole").begin == tensor_of(catalog, "part").begin);
}

TEST_CASE("torch tar: ignores headers of times and owners") {
  for (const char* line : {"mtime=1476000000.25", "uid=12345678", "uname=someone"}) {
    INFO(std::string(line));
    CHECK(is_read(format::torch_tar_format, with(pax(line))));
  }
  CHECK(is_read(format::torch_tar_format, with(pax("charset=BINARY", 'g'))));
}

TEST_CASE("torch tar: refuses hostile archives, each with its reason") {
  const std::vector<Hostile> rows = {
      {"no pickle", without("pickle"), ErrorCode::corrupt, "'pickle'"},
      {"no storages", without("storages"), ErrorCode::corrupt, "'storages'"},
      {"a member twice", with({"pickle", "N."}), ErrorCode::ambiguous, "two tar members"},
      {"a link", with({"x", "", '2'}), ErrorCode::refused, "not a plain file"},
      {"a device", with({"x", "", '3'}), ErrorCode::refused, "not a plain file"},
      {"a name that climbs", with({"../x", ""}), ErrorCode::refused, "not a plain name"},
      {"a name in a prefix", with({"x", "", '0', "folder"}), ErrorCode::refused, "not a plain name"},
      {"a long name of GNU's", with({"././@LongLink", "x", 'L'}), ErrorCode::unsupported, "extension"},
      {"a path by PAX", with(pax("path=../../x")), ErrorCode::unsupported, "'path'"},
      {"a size by PAX", with(pax("size=99999")), ErrorCode::unsupported, "'size'"},
      {"a PAX line that is none", with({"x", "99 mtime=1\n", 'x'}), ErrorCode::corrupt, "length key=value"},
      {"a wrong checksum", changed(0, 'S'), ErrorCode::corrupt, "checksum"},
      {"a size of letters", changed(130, 'x'), ErrorCode::corrupt, ""},
      {"no end", tar_file(members()).substr(0, 512), ErrorCode::corrupt, ""},
  };
  for (const Hostile& row : rows) {
    INFO(std::string(row.what));
    const Error error = thrown_by([&] { return read_bytes(format::torch_tar_format, row.file); });
    INFO(std::string(error.what()));
    CHECK(name(error.code()) == name(row.code));
    CHECK(error.message().find(row.words) != std::string::npos);
  }
}

TEST_CASE("torch tar: a prefix is refused unless only padding is gone, and a flipped bit is refused or harmless") {
  const std::string file = tar_file(members());
  // The two empty blocks at the end are one more than needed.
  CHECK(readable_prefixes(format::torch_tar_format, file) == 512);
  flip_every_bit(format::torch_tar_format, file, file.size());
}
