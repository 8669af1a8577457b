#include "mmap/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "mmap/descriptor.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

// Returns the place of an Error in the file at `path`. `os_error` is 0 for failures that are not the system's.
ErrorPlace place(std::string_view path, int os_error, std::optional<std::uint64_t> offset = {}) {
  return {.path = std::string(path), .tensor = {}, .offset = offset, .os_error = os_error};
}

// Returns the code of the Error for a failed open(): not_found, refused, or io for a failure of the system.
ErrorCode code_of_opening(int os_error, Symlinks symlinks) noexcept {
  switch (os_error) {
    case ENOENT:
    case ENOTDIR: return ErrorCode::not_found;
    // With O_NOFOLLOW, ELOOP reports that the last component is a symlink; without it, a circle of symlinks.
    case ELOOP: return symlinks == Symlinks::refuse ? ErrorCode::refused : ErrorCode::io;
    case ENXIO:   // a socket
    case ENODEV:  // a device without a driver
      return ErrorCode::refused;
    default: return ErrorCode::io;
  }
}

// Returns the target of a symlink, nothing for anything else.
std::optional<std::string> link_target(int folder, const std::string& name) {
  std::array<char, 4096> target;
  // A longer target is cut, which only shortens a message. EINVAL: the name is no symlink.
  const std::int64_t size = sys::readlinkat(folder, name.c_str(), target);
  return size < 0 ? std::nullopt : std::optional(std::string(target.data(), static_cast<std::size_t>(size)));
}

// For a file that is not found, the errno text is the whole message; Error::what() does not repeat it.
std::string message_of_opening(ErrorCode code, int os_error) {
  if (code == ErrorCode::not_found) return std::generic_category().message(os_error);
  if (code == ErrorCode::io) return "open()";
  return os_error == ELOOP ? "expected a regular file, found a symlink"
                           : "expected a regular file, found a socket or a device";
}

// System calls would cut the path at a NUL and open another file.
void require_whole(const std::string& name, const std::string& path) {
  if (name.find('\0') != std::string::npos)
    throw Error(ErrorCode::refused, "expected a path, found a NUL byte in it", place(path, 0));
}

// Returns words for a file that is not regular.
const char* kind(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a pipe";
    case S_IFCHR: return "a character device";
    case S_IFBLK: return "a block device";
    case S_IFSOCK: return "a socket";
    default: return "something else";
  }
}

// Returns fstat()'s result, or throws Error{io}.
struct ::stat status_of(int handle, const std::string& path) {
  struct ::stat status {};
  if (const int result = sys::fstat(handle, status); result < 0)
    throw Error(ErrorCode::io, "fstat()", place(path, -result));
  return status;
}

// Returns the identity of the open file. Throws Error{refused} unless it is a regular file.
Identity identity_of_regular(int handle, const std::string& path) {
  const struct ::stat status = status_of(handle, path);
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorCode::refused, fmt::format("expected a regular file, found {}", kind(status.st_mode)),
                place(path, 0));
  return identity_of(status);
}

// Two changes in one tick of the kernel's clock (1 to 10 ms) get the same timestamp. So a file whose ctime is of the
// current tick is examined again in the next tick: later changes get another timestamp than the recorded one. After
// three rounds, or if the ctime is ahead by more than a tick, the identity is used as it is.
Identity identity_at_rest(int handle, const std::string& path) {
  constexpr std::int64_t max_tick_ns = 10'000'000;
  Identity identity = identity_of_regular(handle, path);
  for (int round = 0; round < 3; ++round) {
    // Far ahead: the clock was set back, and waiting for it could take hours.
    const std::int64_t ahead = identity.ctime_ns - sys::stamping_clock();
    if (ahead < 0 || ahead > max_tick_ns || sys::stamps_finely(handle)) break;
    // At most one tick, 10 ms. No call waits for the clock's next tick.
    while (sys::stamping_clock() <= identity.ctime_ns) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    identity = identity_of_regular(handle, path);
  }
  return identity;
}

// Opens `name` and checks that it is a regular file. O_NONBLOCK, because open() of a pipe without a writer would hang.
std::pair<Descriptor, Identity> open_regular(int folder, const std::string& name, const std::string& path,
                                             Symlinks symlinks, DescriptorPool& pool) {
  require_whole(name, path);
  // O_NOCTTY: opening a terminal must not make it the controlling terminal of the server.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (symlinks == Symlinks::refuse ? O_NOFOLLOW : 0);
  Descriptor opened = open_at(folder, name.c_str(), flags, pool);
  if (const int error = opened.os_error()) {
    const ErrorCode code = code_of_opening(error, symlinks);
    // An interrupted download to a Hugging Face cache leaves a symlink without the blob that it leads to.
    if (const auto target = error == ENOENT ? link_target(folder, name) : std::nullopt)
      throw Error(
          code,
          fmt::format("this is a symlink to '{}', which is not there: the download was interrupted, download it again",
                      core::escaped(*target)),
          place(path, 0));
    throw Error(code, message_of_opening(code, error), place(path, error));
  }
  const Identity identity = identity_at_rest(opened.get(), path);
  return {std::move(opened), identity};
}

// Returns the name for openat(): relative to `folder` if there is one.
std::string name_in(const std::shared_ptr<const Folder>& folder, const std::string& path) {
  return folder ? path.substr(folder->path().size() + (folder->path().ends_with('/') ? 0 : 1)) : path;
}

// Returns the descriptor from which names are looked up: the folder's, or the working directory.
int handle_of(const std::shared_ptr<const Folder>& folder) noexcept { return folder ? folder->handle() : AT_FDCWD; }

// Sets the readahead of a descriptor for the whole file (offset 0, size 0: to its end).
void advise_reading(const Descriptor& open, bool ahead) noexcept {
  sys::posix_fadvise(open.get(), 0, 0, ahead ? POSIX_FADV_NORMAL : POSIX_FADV_RANDOM);
}

// Appends the names in one buffer of getdents64 records.
void append_names(std::span<const std::byte> records, std::vector<std::string>& names) {
  while (!records.empty()) {
    std::uint16_t record_bytes = 0;
    // The buffer contains bytes, no objects of type dirent64, so that members are copied out, not pointed to.
    std::memcpy(&record_bytes, records.data() + offsetof(struct ::dirent64, d_reclen), sizeof record_bytes);
    const std::string_view name(reinterpret_cast<const char*>(records.data()) + offsetof(struct ::dirent64, d_name));
    if (name != "." && name != "..") names.emplace_back(name);
    records = records.subspan(record_bytes);
  }
}

}  // namespace

std::optional<Identity> identity_at(const std::string& path) {
  require_whole(path, path);
  struct ::stat status {};
  const int result = sys::fstatat(AT_FDCWD, path.c_str(), status);
  if (result == -ENOENT || result == -ENOTDIR) return std::nullopt;
  if (result < 0) throw Error(ErrorCode::io, "fstatat()", place(path, -result));
  return identity_of(status);
}

Descriptor open_at(int folder, const char* name, int flags) noexcept {
  int handle = -EINTR;
  while (handle == -EINTR) handle = sys::openat(folder, name, flags);
  return Descriptor(handle);
}

std::shared_ptr<const Folder> Folder::open(const std::string& path) {
  require_whole(path, path);
  Descriptor opened = open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (const int error = opened.os_error()) {
    const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
    throw Error(code, message_of_opening(code, error), place(path, error));
  }
  // `opened` owns the descriptor until the Folder exists, because fstat() and the allocation can throw.
  std::unique_ptr<const Folder> folder(new Folder(opened.get(), path, identity_of(status_of(opened.get(), path))));
  opened.release();
  return folder;
}

Folder::~Folder() { sys::close(handle_); }

std::string Folder::path_of(std::string_view name) const {
  return fmt::format("{}{}{}", path_, path_.ends_with('/') ? "" : "/", name);
}

std::vector<std::string> Folder::names() const {
  // Opens the folder again, because threads that list through handle_ would share its position.
  const Descriptor listing = open_at(handle_, ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (const int error = listing.os_error())
    throw Error(ErrorCode::io, "open() of the folder, to list it", place(path_, error));
  std::vector<std::string> names;
  alignas(struct ::dirent64) std::array<std::byte, 32 << 10> buffer;
  while (const std::int64_t got = sys::getdents64(listing.get(), buffer)) {
    if (got == -EINTR) continue;
    if (got < 0) throw Error(ErrorCode::io, "getdents64()", place(path_, static_cast<int>(-got)));
    append_names(std::span(buffer).first(static_cast<std::size_t>(got)), names);
  }
  // File systems list in the order of their hashes; the order of shards must not depend on it.
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::vector<std::string>> Folder::names_if_listed() const {
  try {
    return names();
  } catch (const Error& error) {
    // A folder that can be searched but not read (mode 0711) still opens the files that an index names.
    if (error.code() != ErrorCode::io) throw;
    return std::nullopt;
  }
}

bool Folder::has_file(const std::string& name) const noexcept {
  struct ::stat status {};
  // A NUL would cut the name, and the answer would be about another file.
  return name.find('\0') == std::string::npos && sys::fstatat(handle_, name.c_str(), status) == 0 &&
         S_ISREG(status.st_mode);
}

bool Folder::has_folder(const std::string& name) const noexcept {
  struct ::stat status {};
  return name.find('\0') == std::string::npos && sys::fstatat(handle_, name.c_str(), status) == 0 &&
         S_ISDIR(status.st_mode);
}

std::optional<std::string> Folder::broken_link(const std::string& name) const {
  struct ::stat status {};
  // fstatat() follows the link, so ENOENT is about its target. link_target() returns nothing if there is no link.
  if (name.find('\0') != std::string::npos || sys::fstatat(handle_, name.c_str(), status) != -ENOENT) return {};
  return link_target(handle_, name);
}

File::File(std::shared_ptr<const Folder> folder, std::string path, Symlinks symlinks,
           std::shared_ptr<DescriptorPool> pool)
    : folder_(std::move(folder)), path_(std::move(path)), symlinks_(symlinks), pool_(std::move(pool)) {
  // A pool of its own, with room for its one descriptor, never drops it.
  if (!pool_) pool_ = std::make_shared<DescriptorPool>(1);
  auto [opened, identity] = open_regular(handle_of(folder_), name_in(folder_, path_), path_, symlinks_, *pool_);
  identity_ = identity;
  auto shared = std::make_shared<const Descriptor>(std::move(opened));
  open_ = shared;
  // open_ is weak: the pool alone keeps the descriptor between calls.
  pool_->keep(std::move(shared));
}

std::shared_ptr<const File> File::open(const std::string& path, Symlinks symlinks) {
  return std::shared_ptr<const File>(new File(nullptr, path, symlinks, nullptr));
}

std::shared_ptr<const File> File::open_in(const Folder& folder, const std::string& name, Symlinks symlinks,
                                          std::shared_ptr<DescriptorPool> pool) {
  return std::shared_ptr<const File>(
      new File(folder.shared_from_this(), folder.path_of(name), symlinks, std::move(pool)));
}

std::shared_ptr<const File> File::of_descriptor(int descriptor, std::string path) {
  // The caller can close its descriptor. The path set below is never opened: a pool of one drops nothing.
  std::shared_ptr<File> file(new File(nullptr, fmt::format("/proc/self/fd/{}", descriptor), Symlinks::follow, nullptr));
  file->path_ = std::move(path);
  return file;
}

std::shared_ptr<const Descriptor> File::descriptor() const {
  // Held while opening, so that threads which find the descriptor dropped do not each open the file.
  const std::lock_guard lock(mutex_);
  if (auto open = open_.lock()) return open;
  auto shared = open_again();
  // Advice belongs to the open file description, and the new one has the default.
  if (!reads_ahead_) advise_reading(*shared, false);
  open_ = shared;
  pool_->keep(shared);
  return shared;
}

DirectAccess File::direct() const {
  const std::lock_guard lock(mutex_);
  DirectAccess access = direct_alignments_;
  access.open = direct_.lock();
  return access;
}

void File::keep_direct(DirectAccess access) const {
  {
    const std::lock_guard lock(mutex_);
    direct_ = access.open;
    direct_alignments_ = {
        .open = nullptr, .memory_alignment = access.memory_alignment, .offset_alignment = access.offset_alignment};
  }
  pool_->keep_direct(std::move(access.open));
}

std::shared_ptr<const Descriptor> File::open_again() const {
  try {
    auto [opened, now] = open_regular(handle_of(folder_), name_in(folder_, path_), path_, symlinks_, *pool_);
    // Compared before the descriptor is returned, so that no byte of another file is used.
    if (const std::string changed = difference(identity_, now); !changed.empty())
      throw Error(ErrorCode::changed_on_disk, changed, at(0));
    return std::make_shared<const Descriptor>(std::move(opened));
  } catch (const Error& error) {
    // The path leads to no regular file any more, so the file that was opened was replaced or removed.
    if (error.code() != ErrorCode::not_found && error.code() != ErrorCode::refused) throw;
    const bool none = error.code() == ErrorCode::not_found;
    throw Error(ErrorCode::changed_on_disk, none ? "expected the file that was opened, found none" : error.message(),
                error.place());
  }
}

ErrorPlace File::at(int os_error, std::optional<std::uint64_t> offset) const { return place(path_, os_error, offset); }

void File::set_read_ahead(bool wanted) const noexcept {
  const std::lock_guard lock(mutex_);
  reads_ahead_ = wanted;
  if (const auto open = open_.lock()) advise_reading(*open, wanted);
}

void File::require_unchanged() const {
  const auto open = descriptor();
  const Identity now = identity_of(status_of(open->get(), path_));
  const std::string changed = difference(identity_, now);
  if (changed.empty()) return;
  // A rename of the file itself changes only the ctime on most file systems. It is taken for one if the path does not
  // lead to the file any more. If it still leads to this file, the file was written and its mtime set back.
  if (only_ctime_moved(identity_, now))
    if (const auto there = identity_at(path_); !there || !there->is_same_file(identity_)) return;
  throw Error(ErrorCode::changed_on_disk, changed, at(0));
}

bool File::unchanged() const noexcept {
  try {
    require_unchanged();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void File::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (!core::inside(offset, into.size(), size_bytes()))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a range inside the file's {} bytes, found {} bytes", size_bytes(), into.size()),
                at(0, offset));
  const auto open = descriptor();
  while (!into.empty()) {
    const std::int64_t got =
        sys::pread(open->get(), offset, into.first(std::min(into.size(), sys::max_transfer_bytes)));
    if (got == -EINTR) continue;
    if (got < 0)
      throw Error(ErrorCode::io, fmt::format("pread() of {} bytes", into.size()), at(static_cast<int>(-got), offset));
    // The range lies inside the size at open, so the end of the file has moved.
    if (got == 0)
      throw Error(ErrorCode::changed_on_disk,
                  fmt::format("expected {} bytes as when it was opened, the file ends here", size_bytes()),
                  at(0, offset));
    into = into.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace heft::mmap
