// format/torch/tar_file.cpp: reader of PyTorch's files before 0.1.10: a tar of four members.
//
//   sys_info   pickle {protocol_version: 1000, little_endian: ..., type_sizes: ...}
//   storages   pickle count; for each: pickle (key, location, class), i64 elements, the elements;
//              then pickle [(key, root key, offset, elements), ...]: views
//   tensors    pickle count; for each: pickle (key, storage key, class), u32 rank, 4 bytes, i64 sizes, i64 strides,
//              i64 offset
//   pickle     the object; a persistent id is a tensor's key
//
// Files in this layout by newer programs can lack `tensors` and mention storages in `pickle`, as later formats do. Both
// forms are read.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/archive/model_archive.hpp"
#include "format/archive/tar.hpp"
#include "format/fail.hpp"
#include "format/formats.hpp"
#include "format/torch/globals.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/storage_stream.hpp"
#include "format/torch/tree.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t chunk_bytes = 4096;  // small, because short pickles lie between payloads

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept { return is_tar(head); }
bool resembles(std::span<const std::byte> head, std::uint64_t) noexcept { return resembles_tar(head); }

class TorchTar {
 public:
  TorchTar(const core::Input& input, const ReadOptions& options) : input_(input), options_(options) {}

  Catalog read();

 private:
  using Storages = std::map<std::string, TorchStorage, std::less<>>;

  void refuse_others() const;
  const TarMember* find(std::string_view name) const;
  core::Cursor cursor(const TarMember& member) const {
    return {input_, member.begin, member.begin + member.size, chunk_bytes};
  }
  std::uint64_t read_count(core::Cursor& cursor, std::string_view what) const;
  Pickle read_entry(core::Cursor& cursor, std::size_t parts, std::string_view what) const;
  KnownGlobal class_of(const Pickle& pickle, std::uint32_t value, GlobalKind wanted) const;
  void read_storages(const TarMember& member);
  void read_storage(core::Cursor& cursor);
  void read_views(core::Cursor& cursor);
  void read_tensors(const TarMember& member);
  void read_tensor(core::Cursor& cursor);
  std::uint64_t unsigned_integer(const Pickle& pickle, std::uint32_t value) const;

  const core::Input& input_;
  const ReadOptions& options_;
  std::vector<TarMember> members_;
  Storages storages_;
  std::map<std::string, StorageUse, std::less<>>
      uses_;  // of each storage key and view key; keys are those of storages_
  TensorTable tensors_;
};

const TarMember* TorchTar::find(std::string_view name) const {
  for (const TarMember& member : members_)
    if (member.name == name) return &member;
  return nullptr;
}

std::uint64_t TorchTar::unsigned_integer(const Pickle& pickle, std::uint32_t value) const {
  if (pickle.kind(value) != PickleKind::integer || pickle[value].integer < 0)
    fail(ErrorCode::corrupt, "expected a number of 0 or more", pickle.begin);
  return pickle[value].unsigned_integer;
}

std::uint64_t TorchTar::read_count(core::Cursor& cursor, std::string_view what) const {
  const Pickle pickle = read_pickle(cursor, options_.limits, what);
  const std::uint64_t count = unsigned_integer(pickle, pickle.root);
  // The count is a number of a pickle and not compared with bytes; entries are read one by one, so nothing is
  // reserved.
  core::require_limit(count, options_.limits.tensors, what, "tensors", pickle.begin);
  return count;
}

Pickle TorchTar::read_entry(core::Cursor& cursor, std::size_t parts, std::string_view what) const {
  Pickle pickle = read_pickle(cursor, options_.limits, what);
  if (pickle.kind(pickle.root) != PickleKind::tuple || pickle.children(pickle.root).size() != parts)
    fail(ErrorCode::corrupt, fmt::format("expected {} as a tuple of {}", what, parts), pickle.begin);
  return pickle;
}

KnownGlobal TorchTar::class_of(const Pickle& pickle, std::uint32_t value, GlobalKind wanted) const {
  const PickleValue& type = pickle[value];
  const KnownGlobal known = type.kind == PickleKind::global ? known_global(pickle.global(type)) : KnownGlobal();
  if (known.kind != wanted || known.dtype == DType::unknown)
    fail(ErrorCode::corrupt, fmt::format("expected a {} class", wanted == GlobalKind::storage ? "storage" : "tensor"),
         pickle.begin);
  return known;
}

void TorchTar::read_storage(core::Cursor& cursor) {
  const Pickle entry = read_entry(cursor, 3, "a storage of the tar");
  const auto parts = entry.children(entry.root);
  // A map with nodes: uses point at the key, which must not move.
  const auto [place, is_new] = storages_.try_emplace(key_text(entry, parts[0]));
  if (!is_new)
    throw Error(ErrorCode::ambiguous, fmt::format("two storages have the key '{}'", core::escaped(place->first)),
                {.offset = entry.begin});
  TorchStorage& storage = place->second;
  StorageUse use;
  use.key = place->first;
  use.dtype = class_of(entry, parts[2], GlobalKind::storage).dtype;
  // The elements follow their pickle in the stream, so the place of the next entry is known only after this one.
  const std::uint64_t at = cursor.offset();
  const auto count = cursor.little<std::int64_t>("the count of a storage");
  if (count < 0) fail(ErrorCode::corrupt, fmt::format("a storage of {} elements", count), at);
  use.count = static_cast<std::uint64_t>(count);
  storage.begin = cursor.offset();
  storage.size = storage_bytes(use, use.count);
  storage.placed = true;
  cursor.skip(storage.size, "the elements of a storage");
  uses_.emplace(place->first, use);
}

void TorchTar::read_views(core::Cursor& cursor) {
  const Pickle views = read_pickle(cursor, options_.limits, "the views of the tar");
  if (views.kind(views.root) != PickleKind::list)
    fail(ErrorCode::corrupt, "expected the views of storages as a list", views.begin);
  for (const std::uint32_t item : views.children(views.root)) {
    const auto parts = views.children(item);
    if (views.kind(item) != PickleKind::tuple || parts.size() != 4)
      fail(ErrorCode::corrupt, "expected a view as (key, root key, offset, elements)", views.begin);
    // A view refers to a storage, not to another view, so that offsets need not be added up.
    const auto root = uses_.find(key_text(views, parts[1]));
    if (root == uses_.end() || root->second.is_view) fail(ErrorCode::corrupt, "a view of no storage", views.begin);
    // A copy of the storage's use with the bounds of the view: dtype and key stay those of the storage.
    StorageUse use = root->second;
    use.is_view = true;
    use.view_first = unsigned_integer(views, parts[2]);
    use.view_count = unsigned_integer(views, parts[3]);
    if (!core::inside(use.view_first, use.view_count, use.count))
      fail(ErrorCode::corrupt, "a view that reaches out of its storage", views.begin);
    if (!uses_.emplace(key_text(views, parts[0]), use).second)
      throw Error(ErrorCode::ambiguous, "two storages or views have one key", {.offset = views.begin});
  }
}

void TorchTar::read_storages(const TarMember& member) {
  core::Cursor at = cursor(member);
  for (std::uint64_t left = read_count(at, "the number of storages"); left > 0; --left) read_storage(at);
  // A file without views can end after the storages.
  if (at.remaining() > 0) read_views(at);
}

void TorchTar::read_tensor(core::Cursor& cursor) {
  const Pickle entry = read_entry(cursor, 3, "a tensor of the tar");
  const auto parts = entry.children(entry.root);
  const auto use = uses_.find(key_text(entry, parts[1]));
  if (use == uses_.end())
    fail(ErrorCode::corrupt, fmt::format("a tensor of no storage: '{}'", core::escaped(key_text(entry, parts[1]))),
         entry.begin);
  TabledTensor tensor;
  tensor.use = use->second;
  tensor.dtype = class_of(entry, parts[2], GlobalKind::tensor_class).dtype;
  const auto rank = cursor.little<std::uint32_t>("the rank of a tensor");
  core::require_limit(rank, options_.limits.rank, "rank of a tensor", "rank", cursor.offset());
  // The oldest files gave the rank eight bytes; later ones write four and leave four.
  cursor.skip(4, "the rank of a tensor");
  for (std::uint32_t i = 0; i < rank; ++i) tensor.sizes.push_back(cursor.little<std::int64_t>("the sizes of a tensor"));
  for (std::uint32_t i = 0; i < rank; ++i)
    tensor.strides.push_back(cursor.little<std::int64_t>("the strides of a tensor"));
  const auto first = cursor.little<std::int64_t>("the offset of a tensor");
  // Sizes and strides are checked by check_tensors(), together with those of other formats.
  if (first < 0) fail(ErrorCode::corrupt, "a tensor with a negative offset", cursor.offset());
  tensor.first = static_cast<std::uint64_t>(first);
  if (!tensors_.emplace(key_text(entry, parts[0]), std::move(tensor)).second)
    throw Error(ErrorCode::ambiguous, "two tensors have one key", {.offset = entry.begin});
}

void TorchTar::read_tensors(const TarMember& member) {
  core::Cursor at = cursor(member);
  for (std::uint64_t left = read_count(at, "the number of tensors"); left > 0; --left) read_tensor(at);
}

/// Returns true for the name of a member of such a file; any of them can be the first.
bool is_pytorch(std::string_view first_member) noexcept {
  static constexpr std::array<std::string_view, 4> names{"sys_info", "pickle", "storages", "tensors"};
  return std::ranges::find(names, first_member) != names.end();
}

/// Refuses tar archives of other programs.
void TorchTar::refuse_others() const {
  const Bytes head = input_.read(0, std::min(tar_header_bytes, input_.size_bytes()));
  // A header with a wrong checksum is no archive of another program: read_tar() reports the damage.
  const std::string first = is_tar(head.span()) ? first_tar_member(input_) : std::string();
  if (first.empty() || is_pytorch(first)) return;
  const std::string_view named = first;
  refuse_archive("a tar archive", {&named, 1});
}

Catalog TorchTar::read() {
  refuse_others();
  members_ = read_tar(input_);
  const TarMember* pickle = find("pickle");
  const TarMember* storages = find("storages");
  if (pickle == nullptr || storages == nullptr)
    fail(ErrorCode::corrupt, "expected a tar with the members 'pickle' and 'storages', as PyTorch before 0.1.10 wrote",
         0);
  read_storages(*storages);
  // Before the pickle, whose ids refer to the table.
  if (const TarMember* tensors = find("tensors")) read_tensors(*tensors);
  core::Cursor at = cursor(*pickle);
  TorchObjects objects =
      interpret(read_pickle(at, options_.limits, "the tar's pickle", &input_), options_, "the tar's pickle", &tensors_);
  for (TorchStorage& storage : objects.storages) {
    const auto found = storages_.find(storage.key);
    if (found == storages_.end()) continue;  // check_tensors() reports the tensor
    storage.begin = found->second.begin;
    storage.size = found->second.size;
    storage.placed = true;
  }
  return catalog_of(input_, torch_tar_format.name, "PyTorch tar, before 0.1.10", std::move(objects), options_);
}

Catalog read(const core::Input& input, const ReadOptions& options) { return TorchTar(input, options).read(); }

}  // namespace

constinit const Format torch_tar_format{
    .name = "torch-tar",
    .suffixes = ".pt .pth .tar",
    .family = Family::torch,
    .reads = "PyTorch before 0.1.10, tar; nothing is executed",
    .matches = matches,
    .read = read,
    .resembles = resembles,
};

}  // namespace heft::format
