// format/torch/zip_file.cpp: reader of PyTorch's zip files (1.6 and newer; .pt .pth .bin .ckpt) and TorchScript
// archives.
//
//   <folder>/data.pkl          the object, a pickle
//   <folder>/data/<key>        the bytes of a storage
//   <folder>/version           "3\n"
//   <folder>/byteorder         "little" or "big"; absent before 2.1
//   <folder>/constants.pkl     TorchScript: a tuple of tensors, whose storages are <folder>/constants/<key>
//
// <folder> is the file's name when it was saved, or "archive". PyTorch stores records aligned to 64 bytes, so that they
// can be mapped. Another zip program can have repacked them: deflated storages become members, which are inflated when
// they are used. Code in TorchScript archives is not read.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/model_archive.hpp"
#include "format/archive/zip_directory.hpp"
#include "format/formats.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/tree.hpp"
#include "format/torch/zip_file.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t newest_version = 10;
constexpr std::uint64_t max_mark_bytes = 64;  // of the records version and byteorder

constexpr std::uint64_t max_whole_pickle = 1u << 20;
constexpr std::uint64_t pickle_chunk_bytes = 4096;  // small at first, because arrays can be skipped; chunks grow

constexpr std::string_view local_magic = "PK\x03\x04";
constexpr std::size_t local_bytes = 30;
constexpr std::size_t method_high_at = 9;  // high byte of the compression method, always 0

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  // Methods are below 256; the byte distinguishes a zip from a safetensors file whose header length has a zip's
  // signature.
  if (head.size() < local_bytes || head[method_high_at] != std::byte{0}) return false;
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (!text.starts_with(local_magic)) return false;
  const std::size_t name_bytes = std::to_integer<std::size_t>(head[26]) | std::to_integer<std::size_t>(head[27]) << 8;
  return !text.substr(local_bytes).substr(0, name_bytes).ends_with(".npy");  // an .npz
}

/// Computes the checksum of bytes that are read in order. Reads can repeat earlier bytes.
class SummedInput final : public core::Input {
 public:
  SummedInput(const core::Input& input, std::uint64_t begin)
      : core::Input(input.budget()), input_(input), next_(begin) {}

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return input_.size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override {
    Bytes bytes = input_.read(offset, size);
    // Bytes between were skipped: the sum is not that of the whole.
    has_gap_ |= offset > next_;
    // Bytes that were summed before; a cursor can read the end of a chunk again.
    if (offset + size <= next_) return bytes;
    sum_ = crc32(bytes.span().subspan(offset > next_ ? 0 : next_ - offset), sum_);
    next_ = offset + size;
    return bytes;
  }
  /// Returns nothing if bytes were skipped.
  [[nodiscard]] std::optional<std::uint32_t> sum() const noexcept {
    return has_gap_ ? std::nullopt : std::optional(sum_);
  }

 private:
  const core::Input& input_;
  mutable std::uint64_t next_;
  mutable std::uint32_t sum_ = 0;
  mutable bool has_gap_ = false;
};

class TorchZip {
 public:
  TorchZip(const core::Input& input, const ReadOptions& options, const TorchZipPlace& place, Catalog& catalog)
      : input_(input), options_(options), place_(place), catalog_(catalog) {}

  void read();

 private:
  std::uint32_t find(std::string_view record) const { return zip_.find(fmt::format("{}/{}", folder_, record)); }
  Bytes read_record(std::uint32_t entry, std::uint64_t max_bytes, core::LimitName limit);
  std::string read_mark(std::string_view record);
  void refuse_others() const;
  void refuse_relatives() const;
  std::uint64_t read_version();
  bool read_byte_order();
  void read_pickle_record(std::string_view record, std::string_view storages, std::string_view prefix);
  Pickle run_pickle(core::Cursor& cursor, const core::Input& input, const std::string& what) const;
  void add_pickle(Pickle pickle, const std::string& what, const ZipEntry& entry, std::string_view storages,
                  TorchPlace& place);
  void check_long_pickle(std::optional<std::uint32_t> found, const ZipEntry& entry);
  void place_storages(TorchObjects& objects, std::string_view storages);
  std::uint32_t add_member(const ZipEntry& entry);

  const core::Input& input_;
  const ReadOptions& options_;
  const TorchZipPlace& place_;
  Catalog& catalog_;
  ZipDirectory zip_;
  std::string folder_;
  bool big_endian_ = false;
};

Bytes TorchZip::read_record(std::uint32_t entry, std::uint64_t max_bytes, core::LimitName limit) {
  locate(input_, zip_, {&entry, 1});
  return read_entry(input_, zip_.entries[entry], max_bytes, limit, options_.limits.inflate_ratio);
}

std::string TorchZip::read_mark(std::string_view record) {
  const std::uint32_t entry = find(record);
  if (entry == none) return {};
  core::require_format_bound(zip_.entries[entry].full_size, max_mark_bytes,
                             fmt::format("size of zip record '{}'", core::escaped(zip_.entries[entry].name)),
                             zip_.entries[entry].header);
  const Bytes bytes = read_record(entry, max_mark_bytes, "inflated_bytes");
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size_bytes())};
}

/// Returns true for a record that archives of PyTorch have, also incomplete ones.
bool is_pytorch(std::string_view record) noexcept {
  static constexpr std::array<std::string_view, 6> names{"data.pkl", "bytecode.pkl", "constants.pkl",
                                                         "version",  "byteorder",    "archive_format"};
  const std::size_t slash = record.find('/');
  return slash == record.npos ? record == names.front()
                              : std::ranges::find(names, record.substr(slash + 1)) != names.end();
}

/// Refuses archives of other programs.
void TorchZip::refuse_others() const {
  std::vector<std::string_view> names;
  for (const ZipEntry& entry : zip_.entries) {
    // One record that only PyTorch writes suffices; the checks that follow then name what is missing.
    if (is_pytorch(entry.name)) return;
    if (!entry.name.ends_with('/')) names.push_back(entry.name);
  }
  refuse_archive("a zip archive", names);
}

/// Refuses zips of PyTorch that are not checkpoints.
void TorchZip::refuse_relatives() const {
  if (find("archive_format") != none)
    throw Error(ErrorCode::unsupported, "a PT2 archive (torch.export), which heft does not read");
  if (find("bytecode.pkl") != none || find("data.pkl") != none) return;
  throw Error(ErrorCode::corrupt,
              fmt::format("expected a record '{}/data.pkl' in a PyTorch file", core::escaped(folder_)));
}

std::uint64_t TorchZip::read_version() {
  std::string text = read_mark("version");
  // PyTorch's reader accepts this name, too.
  if (text.empty()) text = read_mark(".data/version");
  if (text.empty())
    throw Error(ErrorCode::corrupt,
                fmt::format("expected a record '{}/version' in a PyTorch file", core::escaped(folder_)));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  std::uint64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version == 0)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected a number in the version record, found '{}'", core::escaped(text)));
  if (version > newest_version)
    throw Error(ErrorCode::unsupported,
                fmt::format("PyTorch file version {}, the newest known is {}", version, newest_version));
  return version;
}

bool TorchZip::read_byte_order() {
  const std::string text = read_mark("byteorder");
  if (text == "little") return false;
  if (text == "big") return true;
  // An empty record is not an absent one: it is an error.
  if (find("byteorder") == none) return options_.torch.big_endian_default;
  throw Error(ErrorCode::corrupt,
              fmt::format("expected a byteorder of 'little' or 'big', found '{}'", core::escaped(text)));
}

std::uint32_t TorchZip::add_member(const ZipEntry& entry) {
  const Member member{.begin = place_.begin + entry.data,
                      .size = entry.size,
                      .full_size = entry.full_size,
                      .crc32 = entry.crc32,
                      .name = catalog_.arena.store(entry.name)};
  return catalog_.add_deflated(member, entry.header);
}

void TorchZip::place_storages(TorchObjects& objects, std::string_view storages) {
  std::vector<std::uint32_t> entries;
  entries.reserve(objects.storages.size());
  std::string name = fmt::format("{}/{}/", folder_, storages);
  const std::size_t stem = name.size();
  for (const TorchStorage& storage : objects.storages) {
    name.resize(stem);
    name += storage.key;
    // Records follow each other in the order in which the pickle mentions them, so the next one is guessed first.
    const std::uint32_t entry = zip_.find(name, entries.empty() ? 0 : entries.back() + 1);
    if (entry == none) continue;  // check_tensors() reports the tensor
    entries.push_back(entry);
  }
  // All local headers at once: those that lie close together are read together.
  locate(input_, zip_, entries);
  catalog_.checksums.reserve(catalog_.checksums.size() + entries.size());
  std::size_t next = 0;
  for (TorchStorage& storage : objects.storages) {
    // The list has the entries of those storages that were found, in their order; a storage without one is skipped.
    if (next == entries.size() || zip_.entries[entries[next]].name.substr(stem) != storage.key) continue;
    const ZipEntry& entry = zip_.entries[entries[next++]];
    storage.placed = true;
    storage.size = entry.full_size;
    if (entry.method == ZipEntry::deflated)
      storage.member = add_member(entry);
    else {
      storage.begin = place_.begin + entry.data;
      // A writer can leave it out, as 0.
      if (entry.crc32 != 0) catalog_.checksums.push_back({storage.begin, entry.full_size, entry.crc32});
    }
  }
}

void TorchZip::read_pickle_record(std::string_view record, std::string_view storages, std::string_view prefix) {
  const std::uint32_t index = find(record);
  if (index == none) return;
  locate(input_, zip_, {&index, 1});
  const ZipEntry& entry = zip_.entries[index];
  const bool is_stored = entry.method == ZipEntry::stored;
  const std::string what = fmt::format("pickle '{}'", core::escaped(entry.name));
  TorchPlace place;
  place.big_endian = big_endian_;
  place.prefix = prefix;
  place.is_named = !place_.name.empty();
  // A long pickle is read in chunks from the file, so that arrays in it are skipped. A short or a deflated one is
  // read whole, with its checksum compared first.
  if (is_stored && entry.size > max_whole_pickle) {
    // The cursor runs over the file itself, so offsets of the pickle are those of the (embedded) file.
    place.pickle_begin = place_.begin;
    const SummedInput summed(input_, entry.data);
    core::Cursor cursor(summed, entry.data, entry.data + entry.size, pickle_chunk_bytes);
    // Arrays that are read later are read past the sum, from the input itself.
    Pickle pickle = run_pickle(cursor, input_, what);
    if (entry.crc32 != 0) check_long_pickle(summed.sum(), entry);
    return add_pickle(std::move(pickle), what, entry, storages, place);
  }
  const core::MemoryInput memory(read_record(index, options_.limits.pickle_bytes, "pickle_bytes"), input_.budget());
  place.pickle_begin = is_stored ? place_.begin + entry.data : 0;
  core::Cursor cursor(memory, 0, memory.size_bytes(), memory.size_bytes());
  try {
    add_pickle(run_pickle(cursor, memory, what), what, entry, storages, place);
  } catch (const Error& error) {
    // If the pickle is stored, converts offsets in it to offsets in the file.
    // Offsets beyond the pickle are already those of the file.
    if (!error.offset() || *error.offset() >= memory.size_bytes() || !is_stored) throw;
    ErrorPlace at = error.place();
    at.offset = *at.offset + entry.data;
    throw Error(error.code(), error.message(), std::move(at));
  }
}

Pickle TorchZip::run_pickle(core::Cursor& cursor, const core::Input& input, const std::string& what) const {
  Pickle pickle = read_pickle(cursor, options_.limits, what, &input);
  // Python stops at STOP; bytes after it could be another pickle, which a different reader would take.
  if (cursor.remaining() != 0)
    throw Error(ErrorCode::ambiguous, fmt::format("{}: {} bytes after its STOP", what, cursor.remaining()),
                {.offset = cursor.offset()});
  return pickle;
}

void TorchZip::add_pickle(Pickle pickle, const std::string& what, const ZipEntry& entry, std::string_view storages,
                          TorchPlace& place) {
  TorchObjects objects = interpret(std::move(pickle), options_, what);
  place_storages(objects, storages);
  check_tensors(objects, options_.limits);
  // Only byte strings, arrays among them, are views of the pickle's bytes, here those of the inflated record.
  const bool has_arrays = !objects.pickle.blobs.empty();
  if (entry.method != ZipEntry::stored && has_arrays) place.pickle_member = add_member(entry);
  add_objects(catalog_, std::move(objects), options_, place);
}

/// Checks the checksum of a long pickle. If arrays in it were skipped, leaves it to verify_checksums().
void TorchZip::check_long_pickle(std::optional<std::uint32_t> found, const ZipEntry& entry) {
  if (!found) {
    catalog_.checksums.push_back({place_.begin + entry.data, entry.full_size, entry.crc32});
  } else if (*found != entry.crc32) {
    throw Error(ErrorCode::corrupt,
                fmt::format("zip record '{}': expected CRC-32 {:08x}, found {:08x}", core::escaped(entry.name),
                            entry.crc32, *found),
                {.offset = entry.data});
  }
}

void TorchZip::read() {
  zip_ = read_zip(input_, options_.limits);
  refuse_others();
  folder_ = common_folder(zip_);
  refuse_relatives();
  const std::uint64_t version = read_version();
  big_endian_ = read_byte_order();
  const bool script = find("constants.pkl") != none;
  read_pickle_record("data.pkl", "data", place_.name);
  // An embedded file: its caller finishes the catalog after all of them.
  if (!place_.name.empty()) return;
  // The key selects a part of data.pkl, so the constants are not wanted.
  if (options_.torch.top_level_key.empty()) read_pickle_record("constants.pkl", "constants", "constants");
  catalog_.format = torch_zip_format.name;
  catalog_.detail = fmt::format("{}, version {}{}", script ? "TorchScript zip" : "PyTorch zip", version,
                                big_endian_ ? ", big-endian" : "");
  finish(catalog_);
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog{input.budget()};
  read_torch_zip(input, options, {}, catalog);
  return catalog;
}

}  // namespace

bool torch_zip_format_matches(std::span<const std::byte> head) noexcept { return matches(head, head.size()); }

void read_torch_zip(const core::Input& input, const ReadOptions& options, const TorchZipPlace& place, Catalog& into) {
  TorchZip(input, options, place, into).read();
}

constinit const Format torch_zip_format{
    .name = "torch",
    .suffixes = ".pt .pth .bin .ckpt .ot",
    .family = Family::torch,
    .may_lack_byte_order = true,
    .reads = "PyTorch 1.6 and newer (versions 1 to 10), TorchScript archives; nothing is executed",
    .matches = matches,
    .read = read,
};

}  // namespace heft::format
