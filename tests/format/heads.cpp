// Telling formats apart: for each format, valid files whose first bytes imitate the others'.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "format/formats.hpp"
#include "format/reading.hpp"
#include "support/cbor_builder.hpp"
#include "support/gguf_builder.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/torch_builder.hpp"
#include "support/zip_builder.hpp"

namespace heft {
namespace {

using test::little;

const format::Format* recognized(std::string_view file) {
  return format::recognize(std::as_bytes(std::span(file)).first(std::min(file.size(), format::head_bytes)),
                           file.size());
}

std::string name_of(const format::Format* format) { return format == nullptr ? "none" : std::string(format->name); }

// Of one tensor of one byte, with a header of exactly that length: blanks are put before or behind the object.
std::string safetensors_of(std::uint64_t header_bytes, bool blanks_before, std::string_view name = "a") {
  const std::string object = fmt::format(R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}})", name);
  const std::string blanks(header_bytes - object.size(), ' ');
  return little(header_bytes, 8) + (blanks_before ? blanks + object : object + blanks) + "x";
}

constexpr std::uint64_t min_header = 53;  // of that object

// A tar header of one empty member, with its checksum.
std::string tar_header(std::string_view name) {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 8, std::string_view("0000644\0", 8));
  header.replace(124, 12, std::string_view("00000000000\0", 12));
  header.replace(148, 8, "        ");
  header[156] = '0';
  header.replace(257, 8, std::string_view("ustar\00000", 8));
  return header;
}

void set_tar_checksum(std::string& file) {
  file.replace(148, 8, "        ");
  std::uint64_t sum = 0;
  for (const char byte : std::string_view(file).substr(0, 512)) sum += static_cast<unsigned char>(byte);
  file.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

constexpr std::size_t payload_bytes = 4096;

// Writes, over the payload that is a run of 'x', what other formats have at these places of a file.
std::string imitating(std::string file) {
  const std::size_t run = file.find(std::string(payload_bytes / 2, 'x'));
  REQUIRE(run != std::string::npos);
  const std::size_t end = file.find_first_not_of('x', run);
  const auto put = [&](std::size_t at, std::string_view magic) {
    if (at >= run && at + magic.size() <= std::min(end, file.size())) file.replace(at, magic.size(), magic);
  };
  put(257, std::string_view("ustar\00000", 8));
  for (const std::size_t at : {512, 1024, 2048}) put(at, "\x89HDF\r\n\x1A\n");
  if (run <= 148) set_tar_checksum(file);
  return file;
}

std::string payload() { return std::string(payload_bytes, 'x'); }

std::string npy_file() {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4096,), }";
  header.resize(117, ' ');
  return std::string("\x93NUMPY\x01\x00", 8) + little(header.size() + 1, 2) + header + "\n" + payload();
}

std::string npz_file(std::string name) {
  test::ZipBuilder zip;
  zip.add({.name = std::move(name), .content = npy_file(), .crc32 = 0});
  return zip.build();
}

std::string torch_file(const std::string& folder) {
  namespace pickle = test::pickle;
  const std::string object =
      pickle::proto() +
      pickle::dict({pickle::text("w"), pickle::tensor("0", payload_bytes, 0, {payload_bytes}, {1}, "ByteStorage")}) +
      ".";
  test::ZipBuilder zip;
  zip.add({.name = folder + "/data.pkl", .content = object, .crc32 = 0});
  zip.add({.name = folder + "/data/0", .content = payload(), .crc32 = 0});
  zip.add({.name = folder + "/version", .content = "3\n", .crc32 = 0});
  return zip.build();
}

std::string flax_file(std::string_view name) {
  namespace pack = test::pack;
  const std::string array = pack::list({pack::shape({payload_bytes}), pack::text("uint8"), pack::bytes(payload())});
  return pack::map({pack::text(name), pack::extension(1, array)});
}

std::string burn_file() {
  namespace pack = test::pack;
  const std::string data = pack::map({pack::text("bytes"), pack::bytes(payload()), pack::text("shape"),
                                      pack::shape({payload_bytes}), pack::text("dtype"), pack::text("U8")});
  return pack::map(
      {pack::text("metadata"), pack::map({pack::text("version"), pack::text("0.14.0")}), pack::text("item"),
       pack::map({pack::text("w"), pack::map({pack::text("id"), pack::text("1"), pack::text("param"), data})})});
}

std::string pickle_file() {
  namespace pickle = test::pickle;
  return pickle::proto(3) + pickle::dict({pickle::text("w"), pickle::bytes(payload())}) + ".";
}

// Version 3, one variable of bytes. `name` is the model's.
std::string ctranslate2_file(std::string_view name) {
  const auto text = [](std::string_view value) { return little(value.size() + 1, 2) + std::string(value) + '\0'; };
  return little(3, 4) + text(name) + little(7, 4) + little(1, 4) + text("w") + little(1, 1) + little(payload_bytes, 4) +
         little(1, 1) + little(payload_bytes, 4) + payload() + little(0, 4);
}

std::string gguf_file(std::string_view key) {
  constexpr std::uint32_t i8 = 24;
  return test::GgufBuilder().text(key, "v").tensor("w", {payload_bytes}, i8, payload()).build();
}

struct Valid {
  const format::Format* format;
  const char* what;
  std::string file;
};

std::vector<Valid> hardest() {
  std::vector<Valid> files;
  files.push_back({&format::npy_format, "payload", npy_file()});
  files.push_back({&format::npz_format, "payload", npz_file("w.npy")});
  files.push_back({&format::npz_format, "an array named as a member of Keras'", npz_file("model.weights.h5.npy")});
  files.push_back({&format::npz_format, "an array named as PyTorch's pickle", npz_file("archive/data.pkl.npy")});
  files.push_back({&format::torch_zip_format, "payload", torch_file("archive")});
  files.push_back({&format::torch_zip_format, "a folder named as a member of Keras'", torch_file("model.weights.h5")});
  files.push_back({&format::torch_zip_format, "a folder that ends as an array does", torch_file("w.npy")});
  files.push_back({&format::torch_zip_format, "a folder named as another's index", torch_file("metadata.json")});
  files.push_back({&format::gguf_format, "payload", gguf_file("k")});
  files.push_back({&format::gguf_format, "a key that is another's magic", gguf_file("FT01FH01")});
  files.push_back({&format::flax_format, "payload", flax_file("w")});
  files.push_back({&format::flax_format, "a name that holds another's magic", flax_file("wxFT01FH01")});
  files.push_back({&format::flax_format, "a name that is JSON", flax_file(R"({"weight_map":{}})")});
  files.push_back({&format::flax_format, "a name as long as Burn's", flax_file("metadatum")});
  files.push_back({&format::burn_record_format, "payload", burn_file()});
  files.push_back({&format::pickle_format, "payload", pickle_file()});
  files.push_back({&format::ctranslate2_format, "payload", ctranslate2_file("TransformerSpec")});
  files.push_back({&format::ctranslate2_format, "a name that is JSON", ctranslate2_file(R"({"a":1})")});
  files.push_back({&format::index_json_format, "blanks", std::string(700, ' ') + R"({"weight_map":{"ustar":"a"}})"});
  return files;
}

}  // namespace

TEST_CASE("heads: recognizes safetensors headers of any length up to 8,192, with blanks before or after") {
  for (std::uint64_t length = 2; length <= 8192; ++length) {
    const bool blanks_before = length % 2 == 0;
    const std::string file = length < min_header ? little(length, 8) + "{" + std::string(length - 2, ' ') + "}"
                                                 : safetensors_of(length, blanks_before);
    CAPTURE(length);
    REQUIRE(name_of(recognized(file)) == "safetensors");
    REQUIRE_FALSE(test::refusal(format::safetensors_format, file));
  }
}

TEST_CASE("heads: recognizes safetensors whose length has the bytes of another format's head") {
  std::vector<std::uint64_t> lengths = {67'324'752};              // PK\3\4
  for (const std::uint64_t low : {640, 896, 1152, 1408, 35'615})  // 80 02 to 80 05, 1f 8b
    for (const std::uint64_t more : {0, 1, 8, 0x58, 0x8A, 1000}) lengths.push_back(low + more * 65'536);
  lengths.push_back(0x088B1F);    // 1f 8b 08
  lengths.push_back(0x0577A181);  // a map of MessagePack, its first key "w"
  for (const std::uint64_t length : lengths) {
    CAPTURE(length);
    const std::string file = safetensors_of(length, false);
    CHECK(name_of(recognized(file)) == "safetensors");
    if (length < 2'000'000) CHECK_FALSE(test::refusal(format::safetensors_format, file));
    // No other takes the first bytes for its own but by letters that any text may have.
    for (const format::Format* other : format::formats())
      if (other != &format::safetensors_format && other != &format::pickle_format && other != &format::flax_format)
        CHECK_FALSE(other->matches(std::as_bytes(std::span(file)).first(std::min(file.size(), format::head_bytes)),
                                   file.size()));
    // Cut short within its header it is a broken safetensors file.
    CHECK(name_of(recognized(std::string_view(file).substr(0, 60))) == "safetensors");
  }
}

TEST_CASE("heads: a name of a safetensors tensor that puts a magic where another format has its own changes nothing") {
  for (const std::size_t at : {257, 512, 1024, 2048}) {
    const std::string magic = at == 257 ? "ustar  " : "HDF";
    const std::string file = safetensors_of(4000, false, std::string(at - 10, 'n') + magic);
    REQUIRE(file.substr(at, magic.size()) == magic);
    CHECK(name_of(recognized(file)) == "safetensors");
    CHECK_FALSE(test::refusal(format::safetensors_format, file));
  }
  const std::string data = test::SafetensorsBuilder().add("w", "U8", {payload_bytes}, payload()).build();
  CHECK(name_of(recognized(imitating(data))) == "safetensors");
}

TEST_CASE("heads: recognizes a valid file of each format, whatever its names and payload imitate") {
  for (const Valid& valid : hardest()) {
    INFO(valid.format->name, ": ", valid.what);
    const std::string file = valid.format == &format::index_json_format ? valid.file : imitating(valid.file);
    CHECK(name_of(recognized(file)) == valid.format->name);
    const auto refusal = test::refusal(*valid.format, file);
    CHECK_MESSAGE(!refusal, std::string(refusal ? refusal->what() : ""));
  }
}

TEST_CASE("heads: recognizes a tar by its checksum, or by its magic if no other format matches") {
  std::string tar = tar_header("sys_info");
  CHECK(recognized(tar) == &format::torch_tar_format);
  CHECK_FALSE(format::torch_tar_format.matches(std::as_bytes(std::span(tar)), tar.size()));
  set_tar_checksum(tar);
  CHECK(format::torch_tar_format.matches(std::as_bytes(std::span(tar)), tar.size()));
  CHECK_FALSE(format::torch_tar_format.matches(std::as_bytes(std::span(tar)).first(511), 511));
}

TEST_CASE("heads: recognizes a safetensors header over the reference's bound if it fits the file") {
  const std::string head = little(100'000'001, 8) + R"({"a":)";
  const auto bytes = std::as_bytes(std::span(head));
  CHECK(format::recognize(bytes, 200'000'000) == &format::safetensors_format);
  CHECK(format::recognize(bytes, 100'000'008) == nullptr);
  // A GGUF file of 14 GB and 8,827 tensors begins so too.
  const std::string gguf = "GGUF" + little(3, 4) + R"({")" + std::string(6, '\0');
  CHECK(format::recognize(std::as_bytes(std::span(gguf)), std::uint64_t{20} << 30) == &format::gguf_format);
}

TEST_CASE("heads: endings match in upper case too, and whole names only as a whole") {
  CHECK(format::has_suffix(format::safetensors_format, "A.SafeTensors"));
  CHECK(format::has_suffix(format::burn_record_format, "model.mpk.gz"));
  CHECK(format::has_suffix(format::burn_record_format, "MODEL.MPK"));
  CHECK(format::has_suffix(format::ctranslate2_format, "model.bin"));
  CHECK_FALSE(format::has_suffix(format::ctranslate2_format, "my_model.bin"));
  CHECK_FALSE(format::has_suffix(format::safetensors_format, ".safetensors"));
  CHECK_FALSE(format::has_suffix(format::safetensors_format, "safetensors"));
  for (const format::Format* format : format::formats()) CHECK(format->suffixes.find(',') == std::string_view::npos);
}

}  // namespace heft
