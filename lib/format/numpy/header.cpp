// format/numpy/header.cpp: reader and writer of the head of an array, as numpy.lib.format defines it.
//
//   0x93 "NUMPY" | u8 major | u8 minor | length of the header: u16 in version 1, u32 in 2 and 3 | header | elements
//
//   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   padded with spaces, a line feed at the end
//
// The header is a Python literal: latin-1 in versions 1 and 2, UTF-8 in 3. The reader accepts the literals that numpy
// evaluates to a valid header, with keys in any order and any spacing.
#include "format/numpy/header.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format::npy {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::uint64_t alignment = 64;  // of the elements in files that heft writes
constexpr int max_depth = 32;            // of nested structured types

// Types that are dtypes of heft, by kind and bytes.
struct TypeRow {
  char kind;
  std::uint64_t size;
  DType dtype;
};
constexpr TypeRow types[] = {
    {'b', 1, DType::boolean}, {'i', 1, DType::i8},  {'i', 2, DType::i16}, {'i', 4, DType::i32},   {'i', 8, DType::i64},
    {'u', 1, DType::u8},      {'u', 2, DType::u16}, {'u', 4, DType::u32}, {'u', 8, DType::u64},   {'f', 2, DType::f16},
    {'f', 4, DType::f32},     {'f', 8, DType::f64}, {'c', 8, DType::c64}, {'c', 16, DType::c128},
};

/// Reads the header's literal. Recursion is bounded by max_depth.
class Literal {
 public:
  Literal(std::string_view text, std::uint64_t offset, const Limits& limits) noexcept
      : text_(text), offset_(offset), limits_(limits) {}

  Header read();

 private:
  // Each consumes the expected token or throws.
  void expect(char sign);
  bool accept(char sign);
  bool accept_word(std::string_view word);
  std::string_view read_string();
  std::uint64_t read_integer();
  bool read_boolean();

  void read_item(Header& header, std::string_view key);
  std::vector<std::int64_t> read_shape();
  ItemType read_type(int depth);
  ItemType read_structure(int depth);
  std::uint64_t read_field(int depth);
  void skip_field_name();
  ItemType item_type(std::string_view text) const;

  void skip_spaces() noexcept;
  [[nodiscard]] char next();
  [[noreturn]] void fail(std::string_view expected) const;
  [[nodiscard]] std::uint64_t here() const noexcept { return offset_ + at_; }

  std::string_view text_;
  std::uint64_t offset_;  // of the text in the Input
  const Limits& limits_;
  std::size_t at_ = 0;
};

Header Literal::read() {
  Header header;
  std::vector<std::string_view> keys;
  expect('{');
  while (!accept('}')) {
    const std::uint64_t at = here();
    const std::string_view key = read_string();
    // Python keeps the last of two equal keys; other readers keep the first.
    if (std::ranges::find(keys, key) != keys.end())
      throw Error(ErrorCode::ambiguous, fmt::format("the key '{}' is in the header twice", core::escaped(key)),
                  {.offset = at});
    keys.push_back(key);
    expect(':');
    read_item(header, key);
    // NumPy writes a comma after the last item, too.
    if (!accept(',') && next() != '}') fail("',' or '}'");
  }
  skip_spaces();
  // Padding of spaces and the line feed were skipped; anything else would be ignored by one reader and read by
  // another.
  if (at_ != text_.size()) fail("nothing after the header's '}'");
  // Unknown and repeated keys were refused, so three keys are these three.
  if (keys.size() != 3) fail("the keys descr, fortran_order and shape");
  return header;
}

void Literal::read_item(Header& header, std::string_view key) {
  if (key == "descr") {
    header.type = read_type(0);
  } else if (key == "fortran_order") {
    header.fortran_order = read_boolean();
  } else if (key == "shape") {
    header.shape = read_shape();
  } else {
    fail("the key descr, fortran_order or shape");
  }
}

std::vector<std::int64_t> Literal::read_shape() {
  std::vector<std::int64_t> shape;
  // Tracks whether a dim may follow: the first one, or one after a comma.
  bool comma = true;
  expect('(');
  while (!accept(')')) {
    if (!comma) fail("',' or ')'");
    const std::uint64_t at = here();
    const std::uint64_t dim = read_integer();
    if (dim > INT64_MAX) fail("a dim that fits 63 bits");
    shape.push_back(static_cast<std::int64_t>(dim));
    core::require_limit(shape.size(), limits_.rank, "the number of dims", "rank", at);
    comma = accept(',');
  }
  // In Python "(3)" is the number 3, which numpy refuses as a shape.
  if (shape.size() == 1 && !comma) fail("a tuple: (3,) and not (3)");
  return shape;
}

// Reads '<f4', or a list of fields.
ItemType Literal::read_type(int depth) {
  if (depth > max_depth) fail(fmt::format("types nested at most {} deep", max_depth));
  if (next() == '[') return read_structure(depth);
  const std::uint64_t at = here();
  const std::string_view text = read_string();
  // Names of types need no escapes, and read_string() does not decode them.
  if (text.find('\\') != text.npos) fail("a type without escapes");
  // 'O' occurs in no other type. numpy.load() would unpickle such an array, which can run code.
  if (text.find('O') != text.npos)
    throw Error(
        ErrorCode::refused,
        fmt::format("type '{}' is an array of Python objects, a pickle: heft runs none; save it with a numeric dtype",
                    core::escaped(text)),
        {.offset = at});
  return item_type(text);
}

// Reads [('name', '<f4'), ('name', '<f4', (2, 3)), (('title', 'name'), [...])]
ItemType Literal::read_structure(int depth) {
  ItemType type;
  const std::size_t begin = at_;
  expect('[');
  while (!accept(']')) {
    type.size_bytes = core::add_or_throw(type.size_bytes, read_field(depth), "the bytes of a structured type");
    if (!accept(',') && next() != ']') fail("',' or ']'");
  }
  // The whole list is the name of the dtype, which stays unknown: its elements are listed as raw bytes of this size.
  type.text = text_.substr(begin, at_ - begin);
  return type;
}

std::uint64_t Literal::read_field(int depth) {
  expect('(');
  skip_field_name();
  expect(',');
  std::uint64_t size = read_type(depth + 1).size_bytes;
  // A third part of a field is the shape of a subarray, so the field has that many elements.
  if (accept(',') && next() == '(') {
    for (const std::int64_t dim : read_shape())
      size = core::mul_or_throw(size, static_cast<std::uint64_t>(dim), "the bytes of a field");
    accept(',');
  }
  expect(')');
  return size;
}

void Literal::skip_field_name() {
  // A field with a title has a pair in place of its name.
  if (!accept('(')) return static_cast<void>(read_string());
  read_string();
  expect(',');
  read_string();
  accept(',');
  expect(')');
}

// Returns the dtype of a NumPy kind and size, or unknown.
DType plain_type(char kind, std::uint64_t size) noexcept {
  for (const TypeRow& row : types)
    if (row.kind == kind && row.size == size) return row.dtype;
  return DType::unknown;
}

// Returns the bytes of a type that the package ml_dtypes adds to NumPy under a name; 0 for other names.
std::uint64_t bytes_of_added_type(std::string_view name) noexcept {
  static constexpr std::string_view of_a_byte[] = {"float8_e3m4",
                                                   "float8_e4m3",
                                                   "float8_e4m3b11fnuz",
                                                   "float8_e4m3fn",
                                                   "float8_e4m3fnuz",
                                                   "float8_e5m2",
                                                   "float8_e5m2fnuz",
                                                   "float8_e8m0fnu",
                                                   "float4_e2m1fn",
                                                   "float6_e2m3fn",
                                                   "float6_e3m2fn",
                                                   "int4",
                                                   "uint4",
                                                   "int2",
                                                   "uint2"};
  if (name == "bfloat16") return 2;
  return std::ranges::find(of_a_byte, name) == std::end(of_a_byte) ? 0 : 1;
}

// Parses byte order, kind and size: '<f4', '|S3', '>M8[D]'. Types that are no dtypes of heft keep their text and size.
ItemType Literal::item_type(std::string_view text) const {
  ItemType type{.size_bytes = bytes_of_added_type(text), .text = text};
  // Names of ml_dtypes have no byte order and no kind. They are raw items as 'V' is: the caller can set their dtype.
  type.is_raw = type.size_bytes > 0;
  if (type.is_raw) return type;
  std::string_view rest = text;
  if (!rest.empty() && std::string_view("<>|=").find(rest.front()) != rest.npos) {
    type.big_endian = rest.front() == '>';
    type.native = rest.front() == '=';
    rest.remove_prefix(1);
  }
  // from_chars() fails without digits, so a type without a size ("<f") is refused.
  const char kind = rest.empty() ? '\0' : rest.front();
  const char* digits = rest.data() + std::min<std::size_t>(rest.size(), 1);
  const auto [end, error] = std::from_chars(digits, rest.data() + rest.size(), type.size_bytes);
  // Dates and time spans have a unit after the size: M8[ns].
  const bool unit =
      (kind == 'M' || kind == 'm') && end != rest.data() + rest.size() && *end == '[' && rest.back() == ']';
  if (error != std::errc() || (end != rest.data() + rest.size() && !unit) ||
      std::string_view("biufcSUVMma").find(kind) == rest.npos)
    fail(fmt::format("a type as '<f4', found '{}'", core::escaped(text)));
  // NumPy's strings have four bytes for each character.
  if (kind == 'U') type.size_bytes = core::mul_or_throw(type.size_bytes, 4, "the bytes of a string");
  // Unknown for strings, dates, long doubles ('f16') and others, which remain raw bytes.
  type.dtype = plain_type(kind, type.size_bytes);
  type.is_raw = kind == 'V';
  return type;
}

// ---- signs, strings, numbers ----

void Literal::skip_spaces() noexcept {
  while (at_ < text_.size() && std::string_view(" \t\r\n\f").find(text_[at_]) != std::string_view::npos) ++at_;
}

char Literal::next() {
  skip_spaces();
  // NUL is no sign of the syntax, so the end matches none.
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool Literal::accept(char sign) {
  // The second test is for a NUL in the text, which equals the mark of the end.
  if (next() != sign || at_ == text_.size()) return false;
  ++at_;
  return true;
}

void Literal::expect(char sign) {
  if (!accept(sign)) fail(fmt::format("'{}'", sign));
}

bool Literal::accept_word(std::string_view word) {
  skip_spaces();
  if (!text_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

// Returns the text between the quotes, with escapes not decoded.
std::string_view Literal::read_string() {
  // u'..' and b'..' are string literals of Python, too.
  if (next() == 'u' || next() == 'b') ++at_;
  const char quote = next();
  if (quote != '\'' && quote != '"') fail("a string");
  const std::size_t begin = ++at_;
  // A backslash protects the next character, which can be the quote; the end can then lie one past the text.
  while (at_ < text_.size() && text_[at_] != quote) at_ += text_[at_] == '\\' ? 2 : 1;
  if (at_ >= text_.size()) fail(fmt::format("a closing {}", quote));
  return text_.substr(begin, at_++ - begin);
}

// Reads an integer, also with the suffix of Python 2: 3L.
std::uint64_t Literal::read_integer() {
  skip_spaces();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
  if (error != std::errc()) fail("an integer of at least 0 and at most 64 bits");
  at_ = static_cast<std::size_t>(end - text_.data());
  if (at_ < text_.size() && text_[at_] == 'L') ++at_;
  return value;
}

bool Literal::read_boolean() {
  if (accept_word("True")) return true;
  if (!accept_word("False")) fail("True or False");
  return false;
}

void Literal::fail(std::string_view expected) const {
  throw Error(ErrorCode::corrupt,
              fmt::format("the header is expected to have {}, found '{}'", expected,
                          core::escaped(text_.substr(std::min(at_, text_.size())), 20)),
              {.offset = here()});
}

// Reads the version and the header's length, whose width depends on the version.
std::uint64_t header_length(core::Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  const auto major = cursor.u8("the version");
  const auto minor = cursor.u8("the version");
  if (major < 1 || major > 3 || minor != 0)
    throw Error(ErrorCode::unsupported, fmt::format("npy version {}.{}, heft reads 1.0 to 3.0", major, minor),
                {.offset = at});
  return major == 1 ? cursor.little<std::uint16_t>("the header's length")
                    : cursor.little<std::uint32_t>("the header's length");
}

/// Returns column-major strides in elements; a zero dim counts as 1, as in Strides::contiguous().
std::vector<std::int64_t> fortran_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides;
  std::int64_t step = 1;
  for (const std::int64_t dim : shape) {
    strides.push_back(step);
    step *= std::max<std::int64_t>(dim, 1);  // does not overflow: Shape::element_count() has checked the product
  }
  return strides;
}

}  // namespace

RawItems::RawItems(std::span<const DType> dtypes) {
  for (const DType dtype : dtypes) {
    const DTypeInfo& row = info(dtype);
    // Two elements in a byte, or blocks, have no size of one item that could be compared with the array's.
    if (dtype == DType::unknown || row.block_elements != 1)
      throw Error(ErrorCode::out_of_range,
                  fmt::format("raw items as {}: expected a dtype whose elements are whole bytes", row.name));
    // Raw items are distinguished by their size only, so two dtypes of one size would be ambiguous.
    for (const Choice& other : choices_)
      if (info(other.dtype).block_bytes == row.block_bytes)
        throw Error(ErrorCode::out_of_range, fmt::format("raw items as {} and as {}: expected one dtype of {} bytes",
                                                         info(other.dtype).name, row.name, row.block_bytes));
    choices_.push_back({dtype});
  }
}

void RawItems::apply(ItemType& type) {
  for (Choice& choice : choices_) {
    if (!type.is_raw || info(choice.dtype).block_bytes != type.size_bytes) continue;
    type.dtype = choice.dtype;
    choice.is_used = true;
  }
}

void RawItems::require_all_used() const {
  for (const Choice& choice : choices_) {
    const DTypeInfo& row = info(choice.dtype);
    if (!choice.is_used)
      throw Error(ErrorCode::type_mismatch,
                  fmt::format("raw items as {}: expected an array of raw items of {} bytes ('V{}'), found none",
                              row.name, row.block_bytes, row.block_bytes));
  }
}

Header read_header(core::Cursor& cursor, const Limits& limits) {
  const std::uint64_t at = cursor.offset();
  if (cursor.text(magic.size(), "the magic") != magic)
    throw Error(ErrorCode::corrupt, "expected an array that starts with \\x93NUMPY", {.offset = at});
  const std::uint64_t length = header_length(cursor);
  // In versions 2 and 3 the length has 32 bits; it is compared before the header is read.
  core::require_limit(length, limits.npy_header_bytes, "bytes of the header", "npy_header_bytes", cursor.offset());
  const std::uint64_t begin = cursor.offset();
  Header header = Literal(cursor.text(length, "the header"), begin, limits).read();
  header.data = cursor.offset();
  return header;
}

bool has(DType dtype) noexcept { return std::ranges::find(types, dtype, &TypeRow::dtype) != std::end(types); }

std::string head_of(DType dtype, const Shape& shape) {
  const auto* row = std::ranges::find(types, dtype, &TypeRow::dtype);
  if (row == std::end(types)) throw Error(ErrorCode::unsupported, fmt::format("npz has no dtype for {}", name(dtype)));
  // NumPy writes '|' for types that have no byte order.
  const std::string_view order = row->size == 1 ? "|" : "<";
  const std::string_view comma = shape.rank() == 1 ? "," : "";
  std::string header = fmt::format("{{'descr': '{}{}{}', 'fortran_order': False, 'shape': ({}{}), }}", order, row->kind,
                                   row->size, fmt::join(shape.span(), ", "), comma);
  const std::uint64_t before = magic.size() + 2 + 2;  // magic, version 1.0, length
  // The line feed is the last byte of the header, and the data start at the next one.
  const std::uint64_t end = core::align_up(before + header.size() + 1, alignment);
  header.append(end - before - header.size() - 1, ' ') += '\n';

  std::string head(magic);
  head += {'\x01', '\0'};
  core::append_le(head, static_cast<std::uint16_t>(header.size()));
  return head + header;
}

TensorEntry describe(Catalog& catalog, const Header& header, std::uint64_t begin, std::uint64_t available,
                     std::string_view name) {
  TensorEntry entry{.name = name, .begin = begin, .dtype = header.type.dtype};
  try {
    // Shape requires a product within 63 bits; the size in bytes is checked separately.
    const std::uint64_t count = Shape(header.shape).element_count();
    entry.size = core::mul_or_throw(count, header.type.size_bytes, "the bytes of the array");
  } catch (const Error& error) {
    throw Error(error.code(), error.message(), {.tensor = std::string(name), .offset = begin});
  }
  if (entry.size > available)
    throw Error(ErrorCode::corrupt, fmt::format("expected {} bytes of elements, found {}", entry.size, available),
                {.tensor = std::string(name), .offset = begin});
  // numpy.load() ignores bytes after the array; in a stream of several arrays the next one lies there.
  if (entry.size < available)
    catalog.notes.push_back(fmt::format("{} bytes after '{}'", available - entry.size, core::escaped(name)));
  if (header.type.native)
    catalog.notes.push_back(fmt::format(
        "the byte order of '{}' is that of the machine that wrote it: taken as little-endian", core::escaped(name)));
  // Elements of an unknown dtype are raw bytes, which strides cannot describe.
  const bool by_columns = header.fortran_order && header.shape.size() > 1;
  const bool is_raw = entry.dtype == DType::unknown;
  if (by_columns && is_raw)
    catalog.notes.push_back(
        fmt::format("'{}' is in Fortran order: its raw bytes are listed as they lie", core::escaped(name)));
  catalog.set_dims(entry, header.shape,
                   by_columns && !is_raw ? fortran_strides(header.shape) : std::vector<std::int64_t>());
  // Elements of one byte have no order, and raw bytes are not swapped.
  if (header.type.big_endian && info(entry.dtype).swap_bytes > 1) entry.flags |= swapped;
  if (is_raw) catalog.set_unknown_dtype(entry, catalog.arena.store(header.type.text));
  return entry;
}

}  // namespace heft::format::npy
