#include "record/shard.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/stored_numbers.hpp"
#include "format/unrecognized.hpp"
#include "heft/error.hpp"
#include "record/view_access.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

std::string_view base_name(std::string_view path) noexcept { return path.substr(path.rfind('/') + 1); }

// Throws the Error of a file that no format recognizes, with words about its first bytes.
[[noreturn]] void fail_unrecognized(const Source& file) {
  std::array<std::byte, format::head_bytes> head;
  const std::size_t size = std::min<std::uint64_t>(head.size(), file.size_bytes());
  file.fetch(0, {head.data(), size});
  format::refuse_unknown({head.data(), size}, file.size_bytes());
}

// Adds an explanation to an error if the file's name suggests one.
Error explained(const Error& error, const Source& file) {
  const bool is_broken = error.code() == ErrorCode::corrupt || error.code() == ErrorCode::unrecognized;
  if (!is_broken || !is_unfinished(base_name(file.path()))) return error.with_path(file.path());
  return Error(error.code(), error.message() + "; its name is that of a download that is not finished", error.place())
      .with_path(file.path());
}

// Reads the catalog of the file by the format that its first bytes have, whatever its name.
format::Catalog read_catalog(const Source& file, const OpenOptions& options,
                             const std::shared_ptr<core::MetadataBudget>& budget) {
  const format::Format* format = recognize(file);
  if (format == nullptr) fail_unrecognized(file);
  // An option without effect would be taken for one that worked.
  if (format->family != format::Family::numpy && !options.numpy.raw_items.empty())
    throw Error(ErrorCode::type_mismatch,
                fmt::format("raw items as {}: expected a file of NumPy, this is {}, which declares its dtypes",
                            name(options.numpy.raw_items.front()), format->name));
  return format->read(
      SourceInput(file, budget),
      {.limits = options.limits, .file_name = base_name(file.path()), .torch = options.torch, .numpy = options.numpy});
}

// Returns the source of a member. A member inside another one comes after it.
std::shared_ptr<const Source> source_of(const Shard& shard, const format::Member& member,
                                        const std::shared_ptr<LastInflated>& last) {
  // Packed in the file, or in another member: spelled numbers can lie in a deflated record.
  const auto& packed = member.inside == format::none ? shard.source : shard.members[member.inside];
  if (member.lists) return number_source(packed, member.lists);
  if (member.is_latin1) return latin1_source(packed, member);
  if (!member.made.empty()) return memory_source(member.made, shard.source);
  return inflated_source(shard.source, member, last);
}

// The file of lists whose elements are looked at one by one. Not SourceInput, which has a window for one thread; reads
// are positional, so that a file that was truncated is an error and no signal.
class ElementInput final : public core::Input {
 public:
  explicit ElementInput(const Source& source) noexcept : source_(source) {}
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return source_.size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override {
    Bytes bytes = read_bytes(source_, offset, size);
    source_.check_unchanged();
    return bytes;
  }

 private:
  const Source& source_;
};

}  // namespace

const format::Format* recognize(const Source& file) {
  std::array<std::byte, format::head_bytes> head;
  const std::size_t size = std::min<std::uint64_t>(head.size(), file.size_bytes());
  file.fetch(0, {head.data(), size});
  return format::recognize({head.data(), size}, file.size_bytes());
}

std::shared_ptr<const Shard> open_shard(std::shared_ptr<const Source> file, const OpenOptions& options,
                                        const std::shared_ptr<core::MetadataBudget>& budget) {
  format::Catalog catalog = read_as_it_is(*file, [&] { return read_catalog(*file, options, budget); });
  return make_shard(std::move(file), std::move(catalog), options);
}

format::Catalog read_as_it_is(const Source& file, const std::function<format::Catalog()>& read) {
  try {
    format::Catalog catalog = read();
    // Once after the last header: parts of a file that was rewritten meanwhile would not fit each other.
    file.check_unchanged();
    return catalog;
  } catch (const Error& error) {
    // If the file changed meanwhile, reports that instead of the format's error.
    if (error.code() != ErrorCode::changed_on_disk) file.check_unchanged();
    throw explained(error, file);
  }
}

std::shared_ptr<const Shard> make_shard(std::shared_ptr<const Source> file, format::Catalog catalog,
                                        const OpenOptions& options) {
  auto shard = std::make_shared<Shard>();
  // Tables live as long as the checkpoint, so unused capacity is freed.
  catalog.tensors.shrink_to_fit();
  catalog.dims.shrink_to_fit();
  catalog.nodes.shrink_to_fit();
  catalog.children.shrink_to_fit();
  const auto kept = std::make_shared<format::Catalog>(std::move(catalog));
  shard->catalog = kept;
  // The source keeps the catalog, whose strings are the names of its views.
  shard->source = file->payload(kept, options.access, kept->notes);
  // The source keeps the catalog, so it cannot be kept here.
  if (kept->file_numbers) kept->file_numbers->set_file(std::make_unique<ElementInput>(*shard->source));
  if (const auto& members = shard->catalog->members; !members.empty()) {
    // Shared by all members: reading tensors of one record after the other inflates it once, and only one record is
    // kept.
    const auto last = std::make_shared<LastInflated>();
    for (const format::Member& member : members) shard->members.push_back(source_of(*shard, member, last));
  }
  shard->file = std::move(file);
  return shard;
}

TensorView Shard::view(const format::TensorEntry& entry) const {
  const format::Catalog& from = *catalog;
  return ViewAccess::make({
      .source = entry.member == format::none ? source : members[entry.member],
      .name = entry.name,
      .type_name = entry.type_name == format::none ? std::string_view() : from.type_names[entry.type_name],
      .begin = entry.begin,
      .size = entry.size,
      .first = entry.first,
      .sizes = from.sizes(entry),
      .strides = from.strides(entry),
      .dtype = entry.dtype,
      // The view has strides of its own, so the flag is not needed.
      .flags = static_cast<std::uint8_t>(entry.flags & ~format::TensorFlag::strided),
  });
}

}  // namespace heft::record
