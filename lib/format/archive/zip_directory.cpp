#include "format/archive/zip_directory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <utility>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/zip_records.hpp"
#include "format/catalog.hpp"
#include "format/fail.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

using namespace zip;

constexpr std::uint64_t max_comment_bytes = 0xFFFF;
constexpr std::uint64_t min_descriptor_bytes = 12;  // without its optional signature

// Headers closer than this are read together: copying the bytes between costs less than another system call.
constexpr std::uint64_t near_bytes = 4096;
// The maximum size of one read: it fits a core's cache, and the allocator serves it without mmap.
constexpr std::uint64_t window_bytes = 64u << 10;

using format::fail;

[[noreturn]] void fail(ErrorCode code, const ZipEntry& entry, std::string_view finding) {
  fail(code, fmt::format("zip record '{}': {}", core::escaped(entry.name), finding), entry.header);
}

/// Offset, size and count of the directory, from the end records.
struct DirectoryPlace {
  std::uint64_t begin;
  std::uint64_t size;
  std::uint64_t count;
};

// Returns the offset of the end record. Its comment has up to 65535 bytes, so it is searched from the end of the file
// backwards.
std::uint64_t find_end_record(const core::Input& input) {
  const std::uint64_t size = input.size_bytes();
  if (size < end_bytes)
    fail(ErrorCode::corrupt, fmt::format("expected a zip end record of 22 bytes, the file has {}", size), 0);
  const std::uint64_t tail_begin = size - std::min(size, end_bytes + max_comment_bytes);
  const Bytes tail = input.read(tail_begin, size - tail_begin);
  const std::span<const std::byte> bytes = tail.span();
  std::optional<std::uint64_t> found;
  bool is_followed = false;
  // The whole tail is searched, also after a hit. A comment can contain a second end record that also fits the end of
  // the file; readers differ in which one they take, and then in the directory that they read.
  for (std::size_t at = bytes.size() - end_bytes + 1; at-- > 0;) {
    if (core::load_le<std::uint32_t>(bytes.data() + at) != end_signature) continue;
    const std::uint64_t comment = core::load_le<std::uint16_t>(bytes.data() + at + 20);
    // A record that ends before the end of the file is no match. It only selects the message: an archive with bytes
    // after it has one, a download that stopped has none.
    is_followed = is_followed || at + end_bytes + comment < bytes.size();
    if (at + end_bytes + comment != bytes.size()) continue;
    if (found) fail(ErrorCode::ambiguous, "two zip end records fit the end of the file", tail_begin + at);
    found = tail_begin + at;
  }
  if (!found && is_followed)
    fail(ErrorCode::corrupt,
         "no zip end record at the end of the file, but one before it: bytes were appended, or the file is damaged",
         size);
  if (!found)
    fail(ErrorCode::corrupt,
         fmt::format("a zip archive starts here, and no zip end record is at the end of its {} bytes: the download is "
                     "incomplete, download it again",
                     size),
         size);
  return *found;
}

// Requires a field of the end record that is saturated or has the value of the zip64 record.
template <class Small>
void require_same(std::uint64_t wide, Small narrow, Small saturated, std::string_view what, std::uint64_t offset) {
  if (narrow != saturated && narrow != wide)
    fail(ErrorCode::ambiguous, fmt::format("{}: the zip64 end record says {}, the end record {}", what, wide, narrow),
         offset);
}

/// Reads the zip64 end record if a locator precedes the end record. `narrow` is the 32-bit end record.
std::optional<DirectoryPlace> read_zip64_end(const core::Input& input, std::uint64_t end,
                                             std::span<const std::byte> narrow, std::uint64_t& directory_end) {
  // The locator has a fixed size and lies directly before the end record. Without its signature this is not zip64.
  if (end < locator_bytes) return std::nullopt;
  const std::uint64_t locator_at = end - locator_bytes;
  const Bytes locator = input.read(locator_at, locator_bytes);
  if (core::load_le<std::uint32_t>(locator.data()) != zip64_locator_signature) return std::nullopt;
  const auto at = core::load_le<std::uint64_t>(locator.data() + 8);
  core::require_inside(at, zip64_end_bytes, locator_at, "zip64 end record");
  const Bytes record = input.read(at, zip64_end_bytes);
  const std::byte* from = record.data();
  if (core::load_le<std::uint32_t>(from) != zip64_end_signature)
    fail(ErrorCode::corrupt, "no zip64 end record where its locator points", at);
  // The record's size field does not count itself and the signature: 12 bytes. The record can be extended, so its end
  // is computed; a gap between it and the locator could contain another record.
  const std::uint64_t record_end = core::add_or_throw(
      at, core::add_or_throw(core::load_le<std::uint64_t>(from + 4), 12, "zip64 end record"), "zip64 end record");
  if (record_end != locator_at)
    fail(ErrorCode::corrupt,
         fmt::format("expected the zip64 end record to end at byte {}, it ends at {}", locator_at, record_end), at);
  if (core::load_le<std::uint32_t>(from + 16) != 0 || core::load_le<std::uint32_t>(from + 20) != 0 ||
      core::load_le<std::uint32_t>(locator.data() + 4) != 0)
    fail(ErrorCode::unsupported, "zip archives of several disks are not read", at);

  const DirectoryPlace place{core::load_le<std::uint64_t>(from + 48), core::load_le<std::uint64_t>(from + 40),
                             core::load_le<std::uint64_t>(from + 32)};
  // The entries on this disk, and those on all disks.
  if (core::load_le<std::uint64_t>(from + 24) != place.count)
    fail(ErrorCode::ambiguous, "two counts of zip entries in the zip64 end record", at);
  // A field of the end record is either saturated or equal. Readers without zip64 use the narrow one: a different
  // value would show them another directory.
  require_same(place.count, core::load_le<std::uint16_t>(narrow.data() + 10), saturated16, "zip entries", end);
  require_same(place.size, core::load_le<std::uint32_t>(narrow.data() + 12), saturated32, "bytes of the zip directory",
               end);
  require_same(place.begin, core::load_le<std::uint32_t>(narrow.data() + 16), saturated32,
               "offset of the zip directory", end);
  directory_end = at;
  return place;
}

// Returns the place of the central directory, with all declarations of it compared.
DirectoryPlace find_directory(const core::Input& input, const Limits& limits) {
  const std::uint64_t end = find_end_record(input);
  const Bytes record = input.read(end, end_bytes);
  const std::byte* from = record.data();
  const auto disk = core::load_le<std::uint16_t>(from + 4);
  const auto directory_disk = core::load_le<std::uint16_t>(from + 6);
  std::uint64_t directory_end = end;
  const std::optional<DirectoryPlace> wide = read_zip64_end(input, end, record.span(), directory_end);
  // A saturated disk number is replaced by that of the zip64 record, as every saturated field.
  const auto is_first = [&](std::uint16_t number) { return number == 0 || (wide && number == saturated16); };
  if (!is_first(disk) || !is_first(directory_disk))
    fail(ErrorCode::unsupported, "zip archives of several disks are not read", end);

  const DirectoryPlace place =
      wide ? *wide
           : DirectoryPlace{core::load_le<std::uint32_t>(from + 16), core::load_le<std::uint32_t>(from + 12),
                            core::load_le<std::uint16_t>(from + 10)};
  if (!wide && core::load_le<std::uint16_t>(from + 8) != place.count)
    fail(ErrorCode::ambiguous, "two counts of zip entries in the end record", end);
  core::require_inside(place.begin, place.size, directory_end, "zip directory");
  // Bytes between the directory and the end records are not allowed: an archive with bytes in front of it (a
  // self-extracting one) has its directory elsewhere than declared, and readers differ in correcting that.
  if (place.begin + place.size != directory_end)
    fail(ErrorCode::corrupt,
         fmt::format("expected the zip directory to end at byte {}, it ends at {}", directory_end,
                     place.begin + place.size),
         place.begin);
  core::require_limit(place.count, limits.zip_entries, "number of zip entries", "zip_entries", end);
  core::require_limit(place.size, limits.zip_directory_bytes, "size of the zip directory", "zip_directory_bytes", end);
  // Rows are reserved by the declared count, so it is compared with the bytes first.
  if (place.count > place.size / central_bytes)
    fail(ErrorCode::corrupt, fmt::format("{} zip entries do not fit a directory of {} bytes", place.count, place.size),
         place.begin);
  return place;
}

void check_name(const ZipEntry& entry) {
  if (const auto fault = zip_name_fault(entry.name)) fail(fault->code, entry, fault->finding);
}

/// Replaces the saturated fields of `entry` by those of the zip64 extra field, which contains only these, in this
/// order.
void read_zip64_extra(ZipEntry& entry, std::span<const std::byte> extra) {
  while (extra.size() >= 4) {
    const auto id = core::load_le<std::uint16_t>(extra.data());
    const std::size_t size = core::load_le<std::uint16_t>(extra.data() + 2);
    if (size > extra.size() - 4) fail(ErrorCode::corrupt, entry, "an extra field is longer than the extra fields");
    std::span<const std::byte> field = extra.subspan(4, size);
    extra = extra.subspan(4 + size);
    // Other extra fields (times, owners, padding) do not change where the bytes are.
    if (id != zip64_extra) continue;
    for (std::uint64_t* value : {&entry.full_size, &entry.size, &entry.header}) {
      if (*value != saturated32) continue;
      if (field.size() < 8) fail(ErrorCode::corrupt, entry, "the zip64 extra field lacks a size or offset");
      *value = core::load_le<std::uint64_t>(field.data());
      field = field.subspan(8);
    }
    return;
  }
}

// Reads one row of the central directory.
ZipEntry read_central_entry(core::Cursor& cursor, const Limits& limits) {
  const std::uint64_t at = cursor.offset();
  const std::byte* from = cursor.take(central_bytes, "zip directory entry").data();
  if (core::load_le<std::uint32_t>(from) != central_signature)
    fail(ErrorCode::corrupt, "expected a zip directory entry", at);
  ZipEntry entry;
  // Offsets by APPNOTE 4.3.12. The fixed part precedes name, extra fields and comment, whose lengths it has.
  entry.flags = core::load_le<std::uint16_t>(from + 8);
  entry.method = core::load_le<std::uint16_t>(from + 10);
  entry.crc32 = core::load_le<std::uint32_t>(from + 16);
  entry.size = core::load_le<std::uint32_t>(from + 20);
  entry.full_size = core::load_le<std::uint32_t>(from + 24);
  entry.header = core::load_le<std::uint32_t>(from + 42);
  const std::uint64_t name_bytes = core::load_le<std::uint16_t>(from + 28);
  const std::uint64_t extra_bytes = core::load_le<std::uint16_t>(from + 30);
  const std::uint64_t comment_bytes = core::load_le<std::uint16_t>(from + 32);
  const auto disk = core::load_le<std::uint16_t>(from + 34);
  core::require_limit(name_bytes, limits.zip_name_bytes, "length of a zip entry's name", "zip_name_bytes", at);
  entry.name = cursor.text(name_bytes, "zip entry name");
  read_zip64_extra(entry, cursor.take(extra_bytes, "zip extra fields"));
  cursor.skip(comment_bytes, "zip entry comment");
  if (disk != 0 && disk != saturated16) fail(ErrorCode::unsupported, entry, "lies on another disk");
  check_name(entry);
  return entry;
}

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool has_capitals(std::string_view name) noexcept {
  return std::any_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Indexes names in lower case and refuses two that differ only in case: a reader that ignores case would return one
// for the other.
void index_names(ZipDirectory& directory) {
  directory.names = NameTable(directory.entries.size());
  for (const ZipEntry& entry : directory.entries) {
    // Names without capitals, nearly all of PyTorch's, are used in place and not copied.
    const NameTable::Place place =
        directory.names.add(has_capitals(entry.name) ? directory.folded.store(zip_folded(entry.name)) : entry.name);
    if (!place.fresh)
      fail(ErrorCode::ambiguous, entry,
           fmt::format("another record has the name '{}'", core::escaped(directory.entries[place.index].name)));
  }
}

/// Sets every entry's bound, and refuses entries that reach into the next one or past the data.
void check_bounds(ZipDirectory& directory) {
  std::vector<std::uint32_t> order(directory.entries.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto by_header = [&](std::uint32_t a, std::uint32_t b) {
    return directory.entries[a].header < directory.entries[b].header;
  };
  // Writers list records in file order, so the sort is the exception.
  if (!std::is_sorted(order.begin(), order.end(), by_header)) std::stable_sort(order.begin(), order.end(), by_header);
  std::uint64_t bound = directory.begin;
  // From the last record to the first: the bound of each is the header of the one after it. The extra field of the
  // local header is not known yet, so this finds data that overlap by the least size; check_local() compares the
  // exact one.
  for (const std::uint32_t index : order | std::views::reverse) {
    ZipEntry& entry = directory.entries[index];
    entry.bound = bound;
    if (entry.header >= directory.begin) fail(ErrorCode::corrupt, entry, "the local header lies past the data");
    const std::uint64_t needed = local_bytes + entry.name.size();
    if (!core::inside(entry.header, needed, bound) || entry.size > bound - entry.header - needed)
      fail(bound == directory.begin ? ErrorCode::corrupt : ErrorCode::ambiguous, entry,
           fmt::format("{} bytes of data reach past byte {}, where {} begins", entry.size, bound,
                       bound == directory.begin ? "the directory" : "another record"));
    bound = entry.header;
  }
  // Bytes before the first record would be invisible to this reader, but a program that recognizes files by their
  // first bytes would take them for the content.
  if (!order.empty() && bound != 0)
    fail(ErrorCode::ambiguous, fmt::format("expected the first zip record at byte 0, found it at {}", bound), 0);
}

// Requires a record that can be read: not encrypted, stored or deflated. Called for used records only, so that an
// archive with an unsupported record that no tensor needs can be opened.
void check_usable(const ZipEntry& entry) {
  if (entry.flags & (flag_encrypted | flag_strong_encryption | flag_masked))
    fail(ErrorCode::unsupported, entry, "encrypted");
  if (entry.flags & flag_patched) fail(ErrorCode::unsupported, entry, "compressed patched data (flag bit 5)");
  if (entry.method != ZipEntry::stored && entry.method != ZipEntry::deflated)
    fail(ErrorCode::unsupported, entry, fmt::format("compression method {}", entry.method));
  if (entry.method == ZipEntry::stored && entry.size != entry.full_size)
    fail(ErrorCode::corrupt, entry,
         fmt::format("stored, yet {} bytes in the file and {} bytes of content", entry.size, entry.full_size));
}

/// Checks a field of the local header: it must have the directory's value, or the mark that the value is elsewhere (in
/// the zip64 extra field or in the descriptor).
void check_local_field(const ZipEntry& entry, std::uint32_t local, std::uint64_t central, std::string_view what) {
  // With bit 3 CRC-32 and sizes were unknown when the header was written; the writer left zeros and put the values
  // after the data.
  const bool elsewhere = local == saturated32 || (local == 0 && (entry.flags & flag_descriptor));
  if (!elsewhere && local != central)
    fail(ErrorCode::ambiguous, entry,
         fmt::format("the directory has {} {}, the local header {}", what, central, local));
}

/// Checks the local header in `bytes` (header and name) against the directory's entry and sets `data`.
void check_local(ZipEntry& entry, std::span<const std::byte> bytes) {
  const std::byte* from = bytes.data();
  if (core::load_le<std::uint32_t>(from) != local_signature)
    fail(ErrorCode::corrupt, entry, "no local header where the directory points");
  const std::size_t name_bytes = core::load_le<std::uint16_t>(from + 26);
  // `bytes` has the length that the directory's name implies, so the local length is compared before the name is.
  const std::string_view name(reinterpret_cast<const char*>(from + local_bytes), entry.name.size());
  if (name_bytes != entry.name.size() || name != entry.name)
    fail(ErrorCode::ambiguous, entry, "the local header has another name");
  const auto method = core::load_le<std::uint16_t>(from + 8);
  if (method != entry.method)
    fail(ErrorCode::ambiguous, entry,
         fmt::format("the directory has compression method {}, the local header {}", entry.method, method));
  if (core::load_le<std::uint16_t>(from + 6) != entry.flags)
    fail(ErrorCode::ambiguous, entry, "the local header has other flags");
  check_local_field(entry, core::load_le<std::uint32_t>(from + 14), entry.crc32, "CRC-32");
  check_local_field(entry, core::load_le<std::uint32_t>(from + 18), entry.size, "compressed size");
  check_local_field(entry, core::load_le<std::uint32_t>(from + 22), entry.full_size, "size");

  // The local extra field can be longer than the directory's (PyTorch pads with it), so only this header determines
  // where the data start.
  const std::uint64_t extra_bytes = core::load_le<std::uint16_t>(from + 28);
  const std::uint64_t descriptor = entry.flags & flag_descriptor ? min_descriptor_bytes : 0;
  const std::uint64_t data = core::add_or_throw(entry.header, local_bytes + name_bytes + extra_bytes, "zip record");
  if (!core::inside(data, core::add_or_throw(entry.size, descriptor, "zip record"), entry.bound))
    fail(ErrorCode::ambiguous, entry,
         fmt::format("{} bytes of data at byte {} reach past byte {}, where the next record starts", entry.size, data,
                     entry.bound));
  entry.data = data;
}

}  // namespace

std::optional<ZipNameFault> zip_name_fault(std::string_view name) noexcept {
  using Fault = ZipNameFault;
  if (name.empty()) return Fault{ErrorCode::corrupt, "empty name"};
  if (name.find('\0') != name.npos) return Fault{ErrorCode::ambiguous, "NUL in the name: readers would cut it there"};
  if (name.find('\\') != name.npos)
    return Fault{ErrorCode::ambiguous, "backslash in the name: some readers take it for a slash"};
  if (!core::is_utf8(name)) return Fault{ErrorCode::corrupt, "the name is not UTF-8"};
  if (name.front() == '/') return Fault{ErrorCode::refused, "absolute path"};
  // Part by part, so that "..weights" and "a..b" are names like any other.
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    if (name.substr(at, slash - at) == "..") return Fault{ErrorCode::refused, "the name climbs out of its folder"};
    at = slash + 1;
  }
  return std::nullopt;
}

std::string zip_folded(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return lower(c); });
  return out;
}

std::uint32_t ZipDirectory::find(std::string_view name, std::uint32_t guess) const {
  if (guess < entries.size() && entries[guess].name == name) return guess;
  // The table is keyed by lower case; the entry found must also be equal with case.
  const std::optional<std::uint32_t> place = has_capitals(name) ? names.find(zip_folded(name)) : names.find(name);
  return place && entries[*place].name == name ? *place : none;
}

ZipDirectory read_zip(const core::Input& input, const Limits& limits) {
  const DirectoryPlace place = find_directory(input, limits);
  ZipDirectory directory(input.budget());
  directory.begin = place.begin;
  directory.entries.reserve(static_cast<std::size_t>(place.count));
  core::Cursor cursor(input, place.begin, place.begin + place.size);
  while (cursor.remaining() > 0) {
    // Count and size of the directory are declared separately. Both must hold: a reader that stops at the count and
    // one that stops at the size would see different records.
    if (directory.entries.size() == place.count)
      fail(ErrorCode::ambiguous,
           fmt::format("expected {} zip entries, {} bytes follow them in the directory", place.count,
                       cursor.remaining()),
           cursor.offset());
    directory.entries.push_back(read_central_entry(cursor, limits));
  }
  if (directory.entries.size() != place.count)
    fail(ErrorCode::ambiguous,
         fmt::format("expected {} zip entries, the directory holds {}", place.count, directory.entries.size()),
         place.begin);
  // Names point into the chunks that the cursor read.
  directory.kept = cursor.release();
  // Names first: errors of the bounds check name two records.
  index_names(directory);
  check_bounds(directory);
  return directory;
}

void locate(const core::Input& input, ZipDirectory& directory, std::span<const std::uint32_t> used) {
  std::vector<std::uint32_t> order(used.begin(), used.end());
  const auto by_header = [&](std::uint32_t a, std::uint32_t b) {
    return directory.entries[a].header < directory.entries[b].header;
  };
  if (!std::is_sorted(order.begin(), order.end(), by_header)) std::sort(order.begin(), order.end(), by_header);
  // The end of header and name, which are compared; the extra field's length is in the header, its content is not
  // used.
  const auto header_end = [&](const ZipEntry& entry) {
    return entry.header + local_bytes + entry.name.size();
  };  // inside, by check_bounds
  for (std::size_t first = 0; first < order.size();) {
    const std::uint64_t begin = directory.entries[order[first]].header;
    std::uint64_t end = header_end(directory.entries[order[first]]);
    std::size_t last = first + 1;
    // Records of small tensors lie close together: a window covers many headers with one read.
    for (; last < order.size(); ++last) {
      const ZipEntry& next = directory.entries[order[last]];
      if (next.header > end + near_bytes || header_end(next) > begin + window_bytes) break;
      end = std::max(end, header_end(next));
    }
    const Bytes window = input.read(begin, end - begin);
    for (; first < last; ++first) {
      ZipEntry& entry = directory.entries[order[first]];
      check_usable(entry);
      check_local(entry, window.span().subspan(static_cast<std::size_t>(entry.header - begin),
                                               local_bytes + entry.name.size()));
    }
  }
}

namespace {

/// Inflates an entry and charges its bytes to the metadata budget while they live.
Bytes inflate_counted(const core::Input& input, const ZipEntry& entry, const Bytes& deflated, std::uint64_t max_ratio) {
  core::MetadataCharge charge(input.budget());
  charge.add(entry.full_size);
  const Bytes full = inflate(deflated.span(), entry.full_size, max_ratio, entry.name);
  // The owner of the returned bytes holds the charge too, so that the budget gets them back when they are freed.
  using Held = std::pair<core::MetadataCharge, Bytes>;
  return Bytes(full.span(), std::make_shared<Held>(std::move(charge), full));
}

}  // namespace

Bytes read_entry(const core::Input& input, const ZipEntry& entry, std::uint64_t max_bytes, core::LimitName limit,
                 std::uint64_t max_ratio) {
  // The declared size is compared before anything is allocated or inflated.
  core::require_limit(entry.full_size, max_bytes, fmt::format("size of zip record '{}'", core::escaped(entry.name)),
                      limit, entry.data);
  Bytes bytes = input.read(entry.data, entry.size);
  if (entry.method == ZipEntry::deflated) bytes = inflate_counted(input, entry, bytes, max_ratio);
  // 0 is the mark for a checksum that the writer did not record.
  if (entry.crc32 != 0) {
    const std::uint32_t found = crc32(bytes.span());
    if (found != entry.crc32)
      fail(ErrorCode::corrupt, entry, fmt::format("expected CRC-32 {:08x}, found {:08x}", entry.crc32, found));
  }
  return bytes;
}

std::string_view common_folder(const ZipDirectory& directory) {
  if (directory.entries.empty()) fail(ErrorCode::corrupt, "the zip archive is empty", directory.begin);
  // torch.save() puts all records into one folder, named like the file. A record outside it was added by another
  // program.
  const std::string_view first = directory.entries.front().name;
  const std::string_view folder = first.substr(0, std::min(first.find('/'), first.size()));
  for (const ZipEntry& entry : directory.entries) {
    const std::size_t slash = entry.name.find('/');
    if (slash == entry.name.npos)
      fail(ErrorCode::corrupt, entry, "expected the record in a folder, as PyTorch writes them");
    if (entry.name.substr(0, slash) != folder)
      fail(ErrorCode::ambiguous, entry,
           fmt::format("expected all records in the folder of the first, '{}'", core::escaped(folder)));
  }
  return folder;
}

}  // namespace heft::format
