// format/numpy/npz_reader.cpp: reader of NumPy arrays in a zip. Each is a member "<name>.npy", stored (mapped) or
// deflated (inflated on demand).
//
// Open reads only the heads of the arrays; for a deflated member it inflates the first bytes. The record room inflates
// the whole member and checks its CRC when its values are read.
#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/zip_directory.hpp"
#include "format/formats.hpp"
#include "format/numpy/header.hpp"
#include "format/numpy/npz_writer.hpp"
#include "format/range_checks.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace npz {
namespace {

constexpr std::string_view suffix = ".npy";
constexpr std::uint64_t head_chunk_bytes = 512;
constexpr std::uint64_t max_noted = 8;
constexpr std::uint64_t max_header_prefix_bytes = 12;  // magic, version, length

/// Returns true if the name in the first local header ends in .npy.
bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  constexpr std::size_t header_bytes = 30;
  if (head.size() < header_bytes || core::load_le<std::uint32_t>(head.data()) != 0x04034B50) return false;
  // Offset 26 of the local header has the length of the name, which follows the header.
  const std::size_t name_bytes = core::load_le<std::uint16_t>(head.data() + 26);
  if (name_bytes > head.size() - header_bytes) return false;
  const std::string_view name(reinterpret_cast<const char*>(head.data()) + header_bytes, name_bytes);
  return name.ends_with(suffix);
}

class Reader {
 public:
  Reader(const core::Input& input, const ReadOptions& options)
      : input_(input), limits_(options.limits), raw_items_(options.numpy.raw_items) {}

  Catalog read();

 private:
  void add(const ZipEntry& entry);
  void add_raw(const ZipEntry& entry);
  void add_unreadable(std::string_view name, const Error& why);
  void require_readable() const;
  TensorEntry stored_array(const ZipEntry& entry, std::string_view name);
  TensorEntry deflated_array(const ZipEntry& entry, std::string_view name);
  [[nodiscard]] Bytes first_bytes(const ZipEntry& entry) const;
  std::uint32_t add_member(const ZipEntry& entry);

  const core::Input& input_;
  const Limits& limits_;
  npy::RawItems raw_items_;
  std::optional<Error> first_refusal_;
  std::uint64_t unreadable_ = 0;
  Catalog catalog_{input_.budget()};
};

Catalog Reader::read() {
  catalog_.format = "npz";
  ZipDirectory zip = read_zip(input_, limits_);
  core::require_limit(zip.entries.size(), limits_.tensors, "the number of arrays", "tensors");
  std::vector<std::uint32_t> all(zip.entries.size());
  std::iota(all.begin(), all.end(), 0u);
  // Each member becomes a tensor, so all local headers are needed; those near each other are read together.
  locate(input_, zip, all);
  for (const ZipEntry& entry : zip.entries) add(entry);
  // A file with unreadable arrays only is refused; with others it opens with notes.
  require_readable();
  if (unreadable_ > max_noted)
    catalog_.notes.push_back(fmt::format("and {} more arrays cannot be read", unreadable_ - max_noted));
  raw_items_.require_all_used();
  require_unique_names(catalog_);
  sort_by_place(catalog_.tensors);
  catalog_.kept = std::move(zip.kept);
  return std::move(catalog_);
}

void Reader::add(const ZipEntry& entry) {
  core::require_limit(entry.name.size(), limits_.name_bytes, "bytes of a member's name", "name_bytes", entry.header);
  if (entry.name.ends_with('/')) return;  // a folder
  // Stored members are mapped, so their checksum is compared on request only; deflated ones are checked when
  // inflated.
  if (entry.method == ZipEntry::stored && entry.crc32 != 0)
    catalog_.checksums.push_back({entry.data, entry.full_size, entry.crc32});
  if (!entry.name.ends_with(suffix)) return add_raw(entry);
  const std::string_view name = entry.name.substr(0, entry.name.size() - suffix.size());
  try {
    catalog_.tensors.push_back(entry.method == ZipEntry::stored ? stored_array(entry, name)
                                                                : deflated_array(entry, name));
  } catch (const Error& error) {
    // An array that heft does not read, of objects for example, does not hide the others; a damaged one refuses the
    // file.
    const bool is_broken = error.code() != ErrorCode::refused && error.code() != ErrorCode::unsupported;
    if (is_broken) throw error.with_tensor(name);
    add_unreadable(name, error);
  }
}

/// Adds an opaque record in place of an array that heft does not read (of Python objects, of a later version), so that
/// the other arrays can be loaded.
void Reader::add_unreadable(std::string_view name, const Error& why) {
  if (!first_refusal_) first_refusal_ = why.with_tensor(name);
  if (++unreadable_ <= max_noted)
    catalog_.notes.push_back(fmt::format("'{}' cannot be read: {}", core::escaped(name), why.message()));
  const bool is_refused = why.code() == ErrorCode::refused;
  const std::uint32_t what =
      catalog_.add_text(is_refused ? "numpy.ndarray of Python objects" : "numpy.ndarray of a later version");
  catalog_.values.push_back({name, catalog_.add_container(NodeKind::opaque, {&what, 1})});
}

void Reader::require_readable() const {
  if (first_refusal_ && catalog_.tensors.empty()) throw Error(*first_refusal_);
}

/// Adds a member that is not an array as bytes, as numpy.load does.
void Reader::add_raw(const ZipEntry& entry) {
  TensorEntry raw{.name = entry.name, .begin = entry.data, .size = entry.full_size, .dtype = DType::u8};
  // The storage of a deflated member is its inflated bytes, so the tensor starts at 0 of them.
  if (entry.method != ZipEntry::stored) {
    raw.member = add_member(entry);
    raw.begin = 0;
  }
  const std::int64_t size[] = {static_cast<std::int64_t>(entry.full_size)};
  catalog_.set_dims(raw, size);
  catalog_.tensors.push_back(raw);
}

TensorEntry Reader::stored_array(const ZipEntry& entry, std::string_view name) {
  core::Cursor cursor(input_, entry.data, entry.data + entry.size, head_chunk_bytes);
  npy::Header header = npy::read_header(cursor, limits_);
  raw_items_.apply(header.type);
  return npy::describe(catalog_, header, header.data, cursor.remaining(), name);
}

// Offsets in the errors of a head are relative to the inflated member.
TensorEntry Reader::deflated_array(const ZipEntry& entry, std::string_view name) {
  const core::MemoryInput head(first_bytes(entry));
  core::Cursor cursor(head);
  npy::Header header = npy::read_header(cursor, limits_);
  raw_items_.apply(header.type);
  // describe() sees the inflated size: the head was inflated, the elements were not. header.data is inside the head,
  // which is no longer than the member.
  TensorEntry array = npy::describe(catalog_, header, header.data, entry.full_size - header.data, name);
  array.member = add_member(entry);
  return array;
}

Bytes Reader::first_bytes(const ZipEntry& entry) const {
  // The length of the header is in its first bytes. The longest header that Limits allow is inflated at once instead
  // of twice.
  const std::uint64_t wanted = std::min(
      core::add_or_throw(limits_.npy_header_bytes, max_header_prefix_bytes, "npy_header_bytes"), entry.full_size);
  const Bytes deflated = input_.read(entry.data, std::min(entry.size, deflated_bytes_for(wanted)));
  return inflate_first(deflated.span(), wanted, entry.full_size, entry.name);
}

std::uint32_t Reader::add_member(const ZipEntry& entry) {
  const Member member{
      .begin = entry.data, .size = entry.size, .full_size = entry.full_size, .crc32 = entry.crc32, .name = entry.name};
  return catalog_.add_deflated(member, entry.data);
}

Catalog read(const core::Input& input, const ReadOptions& options) { return Reader(input, options).read(); }

}  // namespace
}  // namespace npz

const Format npz_format = {
    .name = "npz",
    .suffixes = ".npz",
    .family = Family::numpy,
    .reads = "members stored or deflated, as npy; other members as bytes; arrays of objects are named and left out",
    .matches = npz::matches,
    .read = npz::read,
    .writer = &npz_writer,
};

}  // namespace heft::format
