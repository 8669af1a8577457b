// format/burn/record.cpp: reader of Burn's records (.mpk, .mpk.gz): named MessagePack of Burn's NamedMpkFileRecorder,
// the predecessor of burnpack.
//
//   {"metadata": {float, int, format, version, settings: texts}, "item": record, ..}
//
//   record: a map of fields, a list, or a leaf; None is nil. A parameter is
//     {"id": text, "param": data}
//   where data, which also occurs alone, is in Burn 0.14 and later
//     {"bytes": bytes, "shape": [unsigned..], "dtype": name or {variant: parameter}}   read in place
//   and in earlier versions
//     {"value": [number..], "shape": [unsigned..]}             numbers, stepped over at open and gathered when loaded
//
// Half-precision values in a value list are spelled as unsigned integers, their bits. A list of unsigned integers up to
// 65535 holds halves only if metadata.float names a half type. Lists of integers have the type that metadata.int names.
//
// The whole file can be compressed with gzip. It is inflated while it is read: at open, to find the tensors and compare
// its checksum, and again when values are read. The inflated bytes are not kept.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/archive/gzip.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/inflate_stream.hpp"
#include "format/archive/model_archive.hpp"
#include "format/archive/tar.hpp"
#include "format/burn/dtypes.hpp"
#include "format/formats.hpp"
#include "format/msgpack/number_lists.hpp"
#include "format/msgpack/tree.hpp"
#include "format/range_checks.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace burn_record {
namespace {

/// Returns true for a map of up to 15 pairs whose first key is "metadata".
bool is_record(std::span<const std::byte> head) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  // 0x80 is the head of a map of up to 15 pairs, 0xA8 that of a text of 8 bytes.
  return text.size() > 1 && (static_cast<unsigned char>(text[0]) & 0xF0u) == 0x80 &&
         text.substr(1).starts_with("\xA8metadata");
}

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept { return is_record(head) || is_gzip(head); }

/// Returns the dtype for the name of a Rust type: "f32", "half::binary16::f16", "i64".
DType rust_type(std::string_view name) noexcept {
  // The part after the last "::" of a Rust path; the whole name without one.
  return dtype_from_name(name.substr(name.rfind(':') + 1)).value_or(DType::unknown);
}

/// The dtypes of integers in a list: f16 or bf16 in files that spell halves as their bits, else the integer type that
/// they were saved from.
struct ListTypes {
  DType half = DType::unknown;  // unknown: no integers are halves
  DType integer = DType::i64;
};

class RecordTree final : public PackTree {
 public:
  RecordTree(Catalog& catalog, PackReader& reader, const Limits& limits, const ListTypes& types,
             std::uint32_t member) noexcept
      : PackTree(catalog, reader, limits, member != none), types_(types), member_(member) {}

  /// Names of tensors and their parameters' ids.
  std::vector<std::pair<std::string_view, std::string_view>> ids;

 private:
  bool take_tensor(const PackItem& head) override;
  bool take_parameter();
  bool take_data(const PackItem& head);
  bool take_bytes();
  bool take_values();
  void read_dtype(TensorEntry& tensor);
  TensorEntry place_list(NumberSteps steps);
  [[nodiscard]] bool has_key(std::string_view wanted);
  [[nodiscard]] DType list_dtype(const NumberSteps& steps) const noexcept;

  const ListTypes& types_;
  std::uint32_t member_;
  std::shared_ptr<NumberLists> lists_;
  std::uint32_t lists_member_ = none;
};

// Tries each form once and reads on from where the reader then is. In an inflated document, a long step back costs as
// much as starting again.
bool RecordTree::take_tensor(const PackItem& head) {
  if (head.kind != PackKind::map) return false;
  const std::uint64_t inside = reader_.offset();
  // A map of two pairs can be a parameter or data in the older form; other numbers of pairs can only be data.
  if ((head.number == 2 && take_parameter()) || (reader_.seek(inside), take_data(head))) return true;
  reader_.seek(inside);
  return false;
}

/// Returns true if the next item is that text. If not, the position of the reader is unspecified.
bool RecordTree::has_key(std::string_view wanted) {
  const PackItem key = reader_.next("a key");
  // The length is compared first: a long key is not read.
  return key.kind == PackKind::text && key.number == wanted.size() && reader_.take_text(key, "a key") == wanted;
}

bool RecordTree::take_parameter() {
  if (!has_key("id")) return false;
  const PackItem id = reader_.next("a parameter's id");
  if (id.kind != PackKind::text) return false;
  // A copy: the reader's memory is reused by the next item.
  const std::string text(reader_.take_text(id, "a parameter's id"));
  if (!has_key("param")) return false;
  const PackItem data = reader_.next("a parameter");
  if (data.kind != PackKind::map || !take_data(data)) return false;
  ids.emplace_back(catalog_.tensors.back().name, keep(text));
  return true;
}

bool RecordTree::take_data(const PackItem& head) {
  // serde writes the fields of a struct in their order, so the first key and the number of pairs decide.
  if (head.number == 3) return has_key("bytes") && take_bytes();
  return head.number == 2 && has_key("value") && take_values();
}

bool RecordTree::take_bytes() {
  const PackItem bytes = reader_.next("a tensor's bytes");
  if (bytes.kind != PackKind::bytes) return false;
  reader_.skip(bytes, "a tensor's bytes");
  // Up to here the map could be another struct; with bytes and shape it is a tensor, and what is missing is an error.
  if (!has_key("shape")) return false;
  // `member_` is the inflated document, or none for a plain file: offsets are relative to either.
  TensorEntry tensor{.begin = bytes.payload, .size = bytes.number, .member = member_};
  const std::vector<std::int64_t> dims = read_dims();
  catalog_.set_dims(tensor, dims);
  if (!has_key("dtype"))
    throw Error(ErrorCode::corrupt, "expected bytes, shape and dtype",
                {.tensor = std::string(path()), .offset = reader_.offset()});
  read_dtype(tensor);
  add_tensor(tensor, bytes.offset);
  return true;
}

void RecordTree::read_dtype(TensorEntry& tensor) {
  const PackItem item = reader_.next("a tensor's dtype");
  // Both spellings of a Rust enum, as in burnpack. Texts are copied, because the next call reuses the reader's
  // memory.
  if (item.kind == PackKind::text)
    return set_burn_dtype(catalog_, tensor, std::string(reader_.take_text(item, "a tensor's dtype")), {});
  if (item.kind != PackKind::map || item.number != 1)
    throw Error(ErrorCode::corrupt,
                fmt::format("dtype: expected a text or a map of one variant, found {}", name(item.kind)),
                {.tensor = std::string(path()), .offset = item.offset});
  const PackItem variant = reader_.next(PackKind::text, "the variant of a dtype");
  const std::string name(reader_.take_text(variant, "the variant of a dtype"));
  const PackItem parameter = reader_.next("the parameter of a dtype");
  if (parameter.kind == PackKind::text)
    return set_burn_dtype(catalog_, tensor, name,
                          std::string(reader_.take_text(parameter, "the parameter of a dtype")));
  reader_.skip(parameter, "the parameter of a dtype");
  set_burn_dtype(catalog_, tensor, name, "..");
}

// ---- value lists ----

/// Reads what follows "value": a list of numbers, "shape" and a list. Stepped-over numbers are not read again.
bool RecordTree::take_values() {
  const PackItem list = reader_.next("a value list");
  if (list.kind != PackKind::list) return false;
  // Only places are recorded: an old record of a large model has billions of numbers.
  std::optional<NumberSteps> steps = reader_.step_numbers(list, "a value list");
  if (!steps || !has_key("shape")) return false;
  const PackItem shape = reader_.next("a shape");
  if (shape.kind != PackKind::list) return false;
  try {
    TensorEntry tensor = place_list(*std::move(steps));
    const std::vector<std::int64_t> dims = read_dims(shape);
    catalog_.set_dims(tensor, dims);
    add_tensor(tensor, list.offset);
  } catch (const Error& error) {
    throw error.with_tensor(path());
  }
  return true;
}

/// Adds the list to NumberLists and returns an entry with the place of its elements.
TensorEntry RecordTree::place_list(NumberSteps steps) {
  const DType dtype = list_dtype(steps);
  // An empty list has no place, and none is needed.
  if (steps.count == 0) return {.dtype = dtype};
  if (steps.odd)
    throw Error(
        ErrorCode::corrupt,
        fmt::format("a value list: expected {} as the first value, found {}", name(steps.kind), name(steps.odd_kind)),
        {.offset = *steps.odd});
  // All lists of a file are one member: an address space of packed elements that are gathered when they are read.
  if (!lists_) {
    lists_ = std::make_shared<NumberLists>(catalog_.budget);
    lists_member_ = static_cast<std::uint32_t>(catalog_.members.size());
    catalog_.members.push_back({.name = "value lists", .lists = lists_, .inside = member_});
  }
  const NumberList& list = lists_->add(std::move(steps), dtype);
  // The member grows with each list.
  catalog_.members[lists_member_].full_size = lists_->size_bytes();
  return {.begin = list.address, .size = list.size, .member = lists_member_, .dtype = dtype, .flags = spelled};
}

DType RecordTree::list_dtype(const NumberSteps& steps) const noexcept {
  switch (steps.kind) {
    case NumberKind::real64: return DType::f64;
    case NumberKind::boolean: return DType::boolean;
    case NumberKind::unsigned_integer:
    case NumberKind::integer: return types_.half != DType::unknown && steps.fits_u16 ? types_.half : types_.integer;
    default: return DType::f32;  // an empty list fits any type
  }
}

// ---- the document ----

class Reader {
 public:
  Reader(const core::Input& input, const ReadOptions& options) noexcept : input_(input), limits_(options.limits) {}

  Catalog read();

 private:
  void refuse_archives() const;
  void read_packed();
  void read_record(const core::Input& document, std::uint32_t member);
  void read_metadata(PackReader& reader);
  void read_item(PackReader& reader, std::uint32_t member);
  void add_ids(const RecordTree& tree);

  const core::Input& input_;
  const Limits& limits_;
  Catalog catalog_{input_.budget()};
  ListTypes types_;
  std::vector<std::uint32_t> pairs_;  // of the metadata map
};

Catalog Reader::read() {
  catalog_.format = "burn-record";
  const Bytes head = input_.read(0, std::min<std::uint64_t>(head_bytes, input_.size_bytes()));
  if (is_gzip(head.span()))
    read_packed();
  else
    read_record(input_, none);
  require_unique_names(catalog_);
  sort_by_place(catalog_.tensors);
  return std::move(catalog_);
}

/// Refuses tar archives by their first bytes, because their trailer can be anything.
void Reader::refuse_archives() const {
  Bytes first;
  try {
    first = gzip_first(input_, tar_header_bytes);
  } catch (const Error&) {
    return;  // read_gzip() reports the error
  }
  if (resembles_tar(first.span())) refuse_gzip(first);
}

void Reader::read_packed() {
  refuse_archives();
  Member member = read_gzip(input_);
  // Filled while the document is inflated at open, so that loading its tensors does not inflate it from the start for
  // each.
  member.points = std::make_shared<InflatePoints>(member.full_size);
  // The declared size is compared before anything is inflated.
  require_ratio(member.full_size, member.size, limits_.inflate_ratio, "gzip");
  const InflatedInput document(input_, member, "gzip");
  const Bytes begin = document.read(0, std::min<std::uint64_t>(head_bytes, member.full_size));
  if (!is_record(begin.span())) refuse_gzip(begin);
  catalog_.members.push_back(member);
  read_record(document, 0);
  // The end of the stream and its checksum were not needed to find the tensors, but bytes before are valid only with
  // them.
  document.finish();
  catalog_.members[0].proven = true;
}

void Reader::read_record(const core::Input& document, std::uint32_t member) {
  PackReader reader(document, 0, document.size_bytes(), limits_);
  const PackItem map = reader.next(PackKind::map, "a record");
  bool has_item = false;
  for (std::uint64_t pair = 0; pair < map.number; ++pair) {
    const PackItem key = reader.next(PackKind::text, "a key of the record");
    const std::string name(reader.take_text(key, "a key of the record"));
    // The metadata determine how the numbers of the item are read, so they must come first; matches() requires it,
    // too.
    if (name == "metadata" && pair == 0)
      read_metadata(reader);
    else if (name == "item" && !std::exchange(has_item, true))
      read_item(reader, member);
    else if (name == "metadata" || name == "item")
      throw Error(ErrorCode::ambiguous, fmt::format("the record has the key '{}' twice", name), {.offset = key.offset});
    else
      reader.skip(reader.next("a value of the record"), "a value of the record");
  }
  if (!has_item)
    throw Error(ErrorCode::corrupt, "expected the keys metadata and item in a record, found no item",
                {.offset = map.offset});
  if (reader.remaining() > 0)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected nothing after the record, found {} bytes", reader.remaining()),
                {.offset = reader.offset()});
  if (!pairs_.empty()) catalog_.metadata = catalog_.add_container(NodeKind::map, pairs_);
}

void Reader::read_metadata(PackReader& reader) {
  const PackItem map = reader.next(PackKind::map, "the metadata");
  std::vector<std::string_view> keys;
  const auto text = [&](std::string_view what) {
    const PackItem item = reader.next(PackKind::text, what);
    core::require_limit(item.number, limits_.name_bytes, what, "name_bytes", item.offset);
    return catalog_.arena.store(reader.take_text(item, what));
  };
  for (std::uint64_t pair = 0; pair < map.number; ++pair) {
    keys.push_back(text("a key of the metadata"));
    const std::string_view value = text("a value of the metadata");
    pairs_.push_back(catalog_.add_text(keys.back()));
    pairs_.push_back(catalog_.add_text(value));
    const DType type = rust_type(value);
    // Only half types change the reading of integers; f32 and f64 are spelled as reals.
    if (keys.back() == "float" && (type == DType::f16 || type == DType::bf16)) types_.half = type;
    if (keys.back() == "int" && info(type).category == DTypeCategory::integer) types_.integer = type;
    if (keys.back() == "version") catalog_.detail = fmt::format("a record of Burn {}", core::escaped(value, 40));
  }
  if (const auto twin = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous, fmt::format("the metadata have the key '{}' twice", core::escaped(*twin)),
                {.offset = map.offset});
}

void Reader::read_item(PackReader& reader, std::uint32_t member) {
  RecordTree tree(catalog_, reader, limits_, types_, member);
  tree.read();
  add_ids(tree);
}

/// Adds the ids by which Burn's optimizers find parameters to the metadata, as one entry.
void Reader::add_ids(const RecordTree& tree) {
  if (tree.ids.empty()) return;
  std::vector<std::uint32_t> ids;
  for (const auto& [tensor, id] : tree.ids) {
    ids.push_back(catalog_.add_text(tensor));
    ids.push_back(catalog_.add_text(id));
  }
  pairs_.push_back(catalog_.add_text("param_id"));
  pairs_.push_back(catalog_.add_container(NodeKind::map, ids));
}

Catalog read(const core::Input& input, const ReadOptions& options) { return Reader(input, options).read(); }

}  // namespace
}  // namespace burn_record

const Format burn_record_format = {
    .name = "burn-record",
    .suffixes = ".mpk .mpk.gz",
    .reads =
        "named MessagePack of any version of Burn: bytes in place, older value lists gathered on demand; gzip inflated "
        "on demand",
    .matches = burn_record::matches,
    .read = burn_record::read,
};

}  // namespace heft::format
