// format/ctranslate2/reader.cpp: reader of CTranslate2's model.bin, versions 1 to 6.
//
//   u32 version | string spec, u32 revision (from version 2 on) | u32 variables
//   variables x { string name | u8 rank | u32 dim[rank] | u8 type, u32 bytes | data }
//                 (to version 3, instead of type and bytes: u8 bytes of an item, u32 items)
//   u32 aliases | aliases x { string alias | string variable } (from version 3 on)
//
//   string: u16 length, bytes, a NUL that the length counts
//
// There is no magic and no alignment: matches() requires a small version and a name whose NUL is where its length puts
// it.
#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/range_checks.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {
namespace ctranslate2 {
namespace {

constexpr std::uint32_t newest_version = 6;
constexpr std::uint64_t head_chunk_bytes = 512;  // read for the head of a variable; the data are skipped
constexpr std::uint64_t min_variable_bytes = 9;
constexpr std::uint64_t min_alias_bytes = 6;

// The dtypes by type number, in version 4 and later.
constexpr DType types[] = {DType::f32, DType::i8, DType::i16, DType::i32, DType::f16, DType::bf16};

// Returns true for printable ASCII without blanks.
bool is_name(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char letter) { return letter > ' ' && letter <= '~'; });
}

/// Returns true for a string at `at` of the head: printable, not empty, with its NUL.
bool looks_like_string(std::span<const std::byte> head, std::size_t at) noexcept {
  if (head.size() < at + 2) return false;
  const std::size_t size = core::load_le<std::uint16_t>(head.data() + at);
  // The length counts the NUL. Names of specifications and variables are far shorter than 256.
  if (size < 2 || size > 256 || size > head.size() - at - 2) return false;
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + at + 2, size);
  return text.back() == '\0' && is_name(text.substr(0, size - 1));
}

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  if (head.size() < 8) return false;
  const auto version = core::load_le<std::uint32_t>(head.data());
  if (version < 1 || version > 64) return false;  // read() refuses versions over 6 by their number
  // Version 1 has the number of variables before the first name, later ones the name of the specification.
  return looks_like_string(head, version == 1 ? 8 : 4);
}

class Reader {
 public:
  Reader(const core::Input& input, const Limits& limits)
      : cursor_(input, 0, input.size_bytes(), head_chunk_bytes), limits_(limits) {}

  Catalog read();

 private:
  void read_metadata();
  void read_variables();
  void read_aliases();
  TensorEntry read_variable();
  void read_dims(TensorEntry& variable);
  std::uint64_t read_type(TensorEntry& variable);
  std::string_view read_string(std::string_view what);
  std::uint64_t read_count(std::uint64_t min_bytes, std::string_view what);
  [[noreturn]] void fail(const TensorEntry& variable, std::string message) const;

  core::Cursor cursor_;
  const Limits& limits_;
  std::uint32_t version_ = 0;
  Catalog catalog_{cursor_.budget()};
};

Catalog Reader::read() {
  catalog_.format = "ctranslate2";
  version_ = cursor_.little<std::uint32_t>("the version");
  if (version_ < 1 || version_ > newest_version)
    throw Error(ErrorCode::unsupported,
                fmt::format("CTranslate2 version {}, heft reads 1 to {}", version_, newest_version), {.offset = 0});
  catalog_.detail = fmt::format("CTranslate2 v{}", version_);
  if (version_ >= 2) read_metadata();
  read_variables();
  if (version_ >= 3) read_aliases();
  if (cursor_.remaining() > 0) catalog_.notes.push_back(fmt::format("{} bytes after the model", cursor_.remaining()));
  require_unique_names(catalog_.tensors);
  sort_by_place(catalog_.tensors);
  catalog_.kept = cursor_.release();
  return std::move(catalog_);
}

void Reader::read_metadata() {
  const std::string_view spec = read_string("the specification's name");
  const auto revision = cursor_.little<std::uint32_t>("the specification's revision");
  const std::uint32_t pairs[] = {catalog_.add_text("spec"), catalog_.add_text(spec), catalog_.add_text("revision"),
                                 catalog_.add_integer(revision)};
  catalog_.metadata = catalog_.add_container(NodeKind::map, pairs);
}

void Reader::read_variables() {
  const std::uint64_t count = read_count(min_variable_bytes, "variables");
  for (std::uint64_t i = 0; i < count; ++i) catalog_.tensors.push_back(read_variable());
}

TensorEntry Reader::read_variable() {
  TensorEntry variable;
  variable.name = read_string("a variable's name");
  read_dims(variable);
  const std::uint64_t at = cursor_.offset();
  variable.size = read_type(variable);
  std::uint64_t expected = variable.size;
  // Shape and size are declared separately. For a known dtype both must agree; else only "none" and "some" are
  // compared.
  if (variable.dtype != DType::unknown)
    expected = bytes_for(variable.dtype, Shape(catalog_.sizes(variable)));
  else
    require_raw_bytes(catalog_, variable, at);
  if (expected != variable.size)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected {} bytes for its shape, {} are declared", expected, variable.size),
                {.tensor = std::string(variable.name), .offset = at});
  // The data follow directly, unaligned, and are skipped.
  variable.begin = cursor_.offset();
  cursor_.skip(variable.size, "a variable's data");
  return variable;
}

void Reader::read_dims(TensorEntry& variable) {
  const std::uint64_t at = cursor_.offset();
  const auto rank = cursor_.u8("a variable's rank");
  core::require_limit(rank, limits_.rank, "the number of dims", "rank", at);
  std::vector<std::int64_t> dims;
  for (unsigned i = 0; i < rank; ++i) dims.push_back(cursor_.little<std::uint32_t>("a variable's dim"));
  // Each dim fits 32 bits, but the product of them may not fit 63.
  require_shape(dims, limits_, variable.name, at);
  catalog_.set_dims(variable, dims);
}

/// Reads the variable's dtype and returns its bytes. Up to version 3 the type is only the size of an element: two bytes
/// are i16, because f16 came later.
std::uint64_t Reader::read_type(TensorEntry& variable) {
  const auto type = cursor_.u8("a variable's type");
  const auto count = cursor_.little<std::uint32_t>("a variable's size");
  // Here the two numbers are the bytes of an item and the number of items; later the type and the number of bytes.
  if (version_ < 4) {
    if (type != 1 && type != 2 && type != 4) fail(variable, fmt::format("items of {} bytes, expected 1, 2 or 4", type));
    variable.dtype = type == 1 ? DType::i8 : type == 2 ? DType::i16 : DType::f32;
    return std::uint64_t{count} * type;
  }
  // A type of a later CTranslate2 is listed by its number, with raw bytes.
  if (type < std::size(types)) {
    variable.dtype = types[type];
  } else {
    catalog_.set_unknown_dtype(variable, catalog_.arena.store(fmt::format("ctranslate2 type {}", type)));
  }
  return count;
}

// Reads aliases; each is a second name of a variable's bytes.
void Reader::read_aliases() {
  const std::uint64_t count = read_count(min_alias_bytes, "aliases");
  if (count == 0) return;
  // A sorted copy: the table grows while aliases are added, and an alias names a variable, not another alias.
  std::vector<TensorEntry> variables(catalog_.tensors.begin(), catalog_.tensors.end());
  std::ranges::sort(variables, {}, &TensorEntry::name);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = cursor_.offset();
    const std::string_view alias = read_string("an alias");
    const std::string_view name = read_string("an alias's variable");
    const auto variable = std::ranges::lower_bound(variables, name, {}, &TensorEntry::name);
    if (variable == variables.end() || variable->name != name)
      throw Error(ErrorCode::corrupt, fmt::format("is an alias of '{}', which is not in the file", core::escaped(name)),
                  {.tensor = std::string(alias), .offset = at});
    // Equal byte ranges: the alias shares the variable's storage.
    catalog_.tensors.push_back(*variable);
    catalog_.tensors.back().name = alias;
  }
}

std::string_view Reader::read_string(std::string_view what) {
  const std::uint64_t at = cursor_.offset();
  const auto size = cursor_.little<std::uint16_t>(what);
  // At most 65535 bytes, so they are read before the limit is compared.
  const std::string_view text = cursor_.text(size, what);
  core::require_limit(size, limits_.name_bytes, what, "name_bytes", at);
  // Without any NUL find() returns npos, which is not the last place either.
  if (text.find('\0') != text.size() - 1 || text.size() < 2)
    throw Error(
        ErrorCode::corrupt,
        fmt::format("{} is expected to have a NUL at its end and nowhere else, found '{}'", what, core::escaped(text)),
        {.offset = at});
  return text.substr(0, text.size() - 1);
}

std::uint64_t Reader::read_count(std::uint64_t min_bytes, std::string_view what) {
  const std::uint64_t at = cursor_.offset();
  const auto count = cursor_.little<std::uint32_t>(what);
  // The count has 32 bits, so the product fits 64.
  core::require_inside(0, count * min_bytes, cursor_.remaining(), what);
  // Aliases count with the variables: each becomes a tensor.
  core::require_limit(count + catalog_.tensors.size(), limits_.tensors, what, "tensors", at);
  return count;
}

void Reader::fail(const TensorEntry& variable, std::string message) const {
  throw Error(ErrorCode::corrupt, std::move(message),
              {.tensor = std::string(variable.name), .offset = cursor_.offset()});
}

Catalog read(const core::Input& input, const ReadOptions& options) { return Reader(input, options.limits).read(); }

}  // namespace
}  // namespace ctranslate2

const Format ctranslate2_format = {
    .name = "ctranslate2",
    .suffixes = "model.bin",
    .reads = "versions 1 to 6, aliases as shared tensors",
    .matches = ctranslate2::matches,
    .read = ctranslate2::read,
};

}  // namespace heft::format
