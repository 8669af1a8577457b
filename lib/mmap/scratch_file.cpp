#include "mmap/scratch_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "mmap/descriptor.hpp"
#include "mmap/descriptor_path.hpp"
#include "mmap/syscalls.hpp"
#include "mmap/unique_number.hpp"
#include "mmap/write_syscalls.hpp"

namespace heft::mmap {
namespace {

constexpr std::size_t max_name_bytes = 255;
// Bits of a mode that are kept. Without setuid, setgid and sticky bits: the new file can have another owner, and is no
// program.
constexpr ::mode_t permissions = 0777;
// Names of scratch files: ".NAME.heft-" and 16 hexadecimal digits. Changing them would orphan the files of older
// versions.
constexpr std::string_view mark = ".heft-";
constexpr std::size_t random_digits = 16;
constexpr std::size_t tail_bytes = mark.size() + random_digits;

// Repeats the call while signals interrupt it.
template <class Call>
auto finished(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

// Returns a name that is random where the system has random bytes: another user of the folder could create a file of a
// predictable name first and block the save.
std::string scratch_name(const std::string& name) {
  // A long NAME is cut, so that the result stays within the 255 bytes of a name. scratch_stem() returns what is left of
  // it.
  return fmt::format(".{}{}{:0{}x}", name.substr(0, max_name_bytes - 1 - tail_bytes), mark, unique_number(),
                     random_digits);
}

// Returns true for results of a call that the system refuses to make: nothing was tried, and no device failed.
bool is_refusal(int result) noexcept {
  return result == -EPERM || result == -EACCES || result == -ENOSYS || result == -EOPNOTSUPP || result == -EINVAL;
}

// Returns the text of errno.
std::string words(int result) { return std::generic_category().message(-result); }

// Returns the prefix of NAME that the name of a scratch file contains; empty for other names.
std::string_view scratch_stem(std::string_view name) noexcept {
  // The end is looked at, because NAME can contain the mark itself.
  if (name.size() < 1 + tail_bytes || name.front() != '.') return {};
  const std::string_view tail = name.substr(name.size() - tail_bytes);
  const bool is_scratch =
      tail.starts_with(mark) && tail.find_first_not_of("0123456789abcdef", mark.size()) == tail.npos;
  return is_scratch ? name.substr(1, name.size() - 1 - tail_bytes) : std::string_view();
}

// Returns true while `name` leads to the open file. Another process can have removed or replaced it.
bool is_named(const Folder& folder, const std::string& name, int handle) noexcept {
  struct ::stat by_name {};
  struct ::stat by_handle {};
  // False also when a call fails: a file that cannot be examined is treated as another one's.
  return sys::fstatat(folder.handle(), name.c_str(), by_name) == 0 && sys::fstat(handle, by_handle) == 0 &&
         by_name.st_dev == by_handle.st_dev && by_name.st_ino == by_handle.st_ino;
}

// Returns true when sys::link() can give an unnamed file its name: /proc/self/fd leads to the file, and linkat() is
// allowed. The name "." is taken, which linkat() reports after all other checks that do not need the file system.
bool can_be_linked(const Folder& folder, int handle) noexcept {
  struct ::stat by_name {};
  struct ::stat by_handle {};
  return sys::fstatat(AT_FDCWD, DescriptorPath(handle).c_str(), by_name) == 0 && sys::fstat(handle, by_handle) == 0 &&
         by_name.st_dev == by_handle.st_dev && by_name.st_ino == by_handle.st_ino &&
         // EEXIST is the expected answer. ENOENT or EPERM would mean that publish() fails after all bytes are written.
         finished([&] { return sys::link(handle, folder.handle(), "."); }) == -EEXIST;
}

// Returns true for results of a file system, or a kernel, without unnamed files.
bool lacks_unnamed(int result) noexcept {
  // EOPNOTSUPP: the file system. EISDIR, ENOENT: a kernel before 3.11 takes the flag for O_DIRECTORY. EINVAL, ENOSYS,
  // EPERM: other file systems and sandboxes.
  return result == -EOPNOTSUPP || result == -EISDIR || result == -EINVAL || result == -ENOSYS || result == -ENOENT ||
         result == -EPERM;
}

// Removes the scratch file unless its writer is alive, which then holds the lock, or the file cannot be opened or
// locked.
void remove_if_dead(const Folder& folder, const std::string& name) noexcept {
  // O_RDWR, because network file systems take an exclusive lock only on a file that is open for writing.
  const Descriptor opened =
      open_at(folder.handle(), name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (opened.get() < 0 || sys::try_lock(opened.get()) < 0) return;
  // Between open and lock the writer can have published the file and another one taken the name.
  if (is_named(folder, name, opened.get())) sys::unlink(folder.handle(), name.c_str());
}

// Returns the permissions of the regular file of that name, or nothing when the name is free.
std::optional<::mode_t> replaced_mode(const Folder& folder, const std::string& name, const std::string& path) {
  struct ::stat status {};
  const int result = finished([&] { return sys::fstatat(folder.handle(), name.c_str(), status); });
  if (result == -ENOENT) return std::nullopt;  // or a broken symlink, which the rename replaces
  if (result < 0) throw Error(ErrorCode::io, "fstatat()", {.path = path, .os_error = -result});
  // rename() would replace a pipe or a device without a word, and fail on a folder only at the end.
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorCode::refused, "expected a regular file to replace, found something else", {.path = path});
  return status.st_mode & permissions;
}

}  // namespace

ScratchFile::ScratchFile(std::shared_ptr<const Folder> folder, std::string name)
    : folder_(std::move(folder)), name_(std::move(name)), path_(folder_->path_of(name_)) {}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      path_(std::move(other.path_)),
      scratch_(std::exchange(other.scratch_, {})),
      notes_(std::move(other.notes_)),
      handle_(std::exchange(other.handle_, -1)) {}

ScratchFile::~ScratchFile() {
  // An unnamed file vanishes with its descriptor. A moved-from object has neither descriptor nor name.
  if (handle_ >= 0) sys::close_written(handle_);
  if (!scratch_.empty()) sys::unlink(folder_->handle(), scratch_.c_str());
}

ScratchFile ScratchFile::create(std::shared_ptr<const Folder> folder, std::string name) {
  ScratchFile file(std::move(folder), std::move(name));
  // The file to be replaced keeps its permissions: a model that only a group can read stays so.
  const auto replaced = replaced_mode(*file.folder_, file.name_, file.path_);
  // Never with more permissions than at the end: others must not be able to open a private file in between.
  file.open(replaced.value_or(S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH));
  if (replaced) file.permit(*replaced);
  return file;
}

// Restores the bits that the umask has cleared.
void ScratchFile::permit(::mode_t mode) {
  struct ::stat status {};
  if (const int result = finished([&] { return sys::fstat(handle_, status); }); result < 0)
    fail("fstat() of the new file", result);
  // Called only if needed: some file systems (vfat, SMB) refuse fchmod(), but create files with the right bits.
  const ::mode_t there = status.st_mode & permissions;
  if (there == mode) return;
  const int result = finished([&] { return sys::fchmod(handle_, mode); });
  if (is_refusal(result))
    notes_.push_back(fmt::format("fchmod: {}: the new file has permissions {:04o}, the replaced one had {:04o}",
                                 words(result), there, mode));
  else if (result < 0)
    fail("fchmod() of the new file to the permissions of the old one", result);
}

void ScratchFile::open(::mode_t mode) {
  if (open_unnamed(mode)) return;
  // Each round draws another name.
  while (!open_named(mode)) {
  }
}

// Returns false where the system has no unnamed files; open_named() is used then.
bool ScratchFile::open_unnamed(::mode_t mode) {
  const int handle = finished([&] { return sys::create_unnamed(folder_->handle(), mode); });
  if (lacks_unnamed(handle)) return false;
  if (handle < 0) fail("open() of a scratch file in its folder", handle);
  // Found out now, before gigabytes are written to a file that could get no name.
  if (!can_be_linked(*folder_, handle)) {
    sys::close_written(handle);
    return false;
  }
  handle_ = handle;
  sys::try_lock(handle);  // so that no process removes it between link() and rename()
  return true;
}

// Returns false to retry: the name was taken, a signal came, or another process took the file for a dead one before it
// was locked.
bool ScratchFile::open_named(::mode_t mode) {
  // Not repeated by finished(): after EINTR a file can exist under the name, so the next round takes another.
  std::string name = scratch_name(name_);
  const int handle = sys::create(folder_->handle(), name.c_str(), mode);
  if (handle == -EEXIST || handle == -EINTR) return false;
  if (handle < 0) fail("open() of a scratch file in its folder", handle);
  // On a file system without locks the file stays unlocked. remove_dead_scratch() cannot lock it either, and keeps it.
  if (sys::try_lock(handle) == -EWOULDBLOCK || !is_named(*folder_, name, handle)) {
    sys::unlink(folder_->handle(), name.c_str());
    sys::close_written(handle);
    return false;
  }
  scratch_ = std::move(name);
  handle_ = handle;
  return true;
}

void ScratchFile::reserve(std::uint64_t size) {
  if (size == 0) return;
  // fallocate() beyond RLIMIT_FSIZE would raise SIGXFSZ, which kills the process by default.
  require_file_size(path_, size);
  const int result = finished([&] { return sys::fallocate(handle_, size); });
  if (result == 0) return;
  if (result != -EOPNOTSUPP && result != -ENOSYS && result != -EINVAL && result != -EPERM)
    fail(fmt::format("fallocate() of {} bytes", size), result);
  // A file system that cannot allocate: one byte at the end gives the file its size, with a hole before it. A full disk
  // is then found by the writes.
  constexpr std::byte last{};
  write(size - 1, {&last, 1});
}

void ScratchFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const std::int64_t put = sys::pwrite(handle_, offset, from.first(std::min(from.size(), sys::max_transfer_bytes)));
    if (put == -EINTR) continue;
    // 0 is no errno, but repeating it could go on for ever.
    if (put <= 0)
      throw Error(ErrorCode::io, fmt::format("pwrite() of {} bytes", from.size()),
                  {.path = path_, .offset = offset, .os_error = put < 0 ? static_cast<int>(-put) : EIO});
    from = from.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void ScratchFile::sync() {
  const int result = finished([&] { return sys::fsync(handle_); });
  if (result == 0) return;
  // A device that failed must not be asked again: after one failed fsync() the kernel reports success for pages that it
  // has lost.
  if (!is_refusal(result)) fail("fsync()", result);
  // fdatasync() writes all metadata that is needed to read the bytes back; it omits timestamps.
  const int data = finished([&] { return sys::fdatasync(handle_); });
  if (data == 0) return;
  if (!is_refusal(data)) fail("fdatasync()", data);
  notes_.push_back(fmt::format("fsync: {}: a power failure can lose the file", words(result)));
}

// Closes a duplicate, because a network file system sends delayed writes when any descriptor is closed. The remaining
// descriptor keeps the lock, and keeps the unnamed file alive. Without a duplicate, syncing reports the same failures.
void ScratchFile::finish() {
  const int twin = finished([&] { return sys::duplicate(handle_); });
  if (twin < 0) return sync();
  // Linux closes the descriptor even if close() returns EINTR, so it must not be closed again.
  const int result = sys::close_written(twin);
  if (result < 0 && result != -EINTR) fail("close()", result);
}

void ScratchFile::link() {
  int result = -EEXIST;
  // linkat() never replaces a file, so a taken name is tried again under another one. rename() then replaces NAME
  // atomically, which linkat() cannot.
  while (result == -EEXIST || result == -EINTR) {
    std::string name = scratch_name(name_);
    result = sys::link(handle_, folder_->handle(), name.c_str());
    if (result == 0) scratch_ = std::move(name);
  }
  if (result < 0) fail("link() of the new file", result);
}

void ScratchFile::publish() {
  // The unnamed file gets a name for the time of one call; a process killed in between leaves it to
  // remove_dead_scratch().
  if (scratch_.empty()) link();
  const int result = finished([&] { return sys::rename(folder_->handle(), scratch_.c_str(), name_.c_str()); });
  if (result < 0) fail(fmt::format("rename() of '{}' to it", core::escaped(scratch_)), result);
  // The name is gone, so the destructor must not remove a file that another process creates under it.
  scratch_.clear();
  // Its result does not matter: finish() has reported delayed failures. The lock ends here, after the rename.
  sys::close(std::exchange(handle_, -1));
}

void ScratchFile::fail(const std::string& message, std::int64_t result) const {
  throw Error(ErrorCode::io, message, {.path = path_, .os_error = static_cast<int>(-result)});
}

void require_file_size(const std::string& path, std::uint64_t size) {
  if (const std::uint64_t limit = sys::file_size_limit(); size > limit)
    throw Error(ErrorCode::io,
                fmt::format("expected to write {} bytes, RLIMIT_FSIZE is {} (raise it with ulimit -f)", size, limit),
                {.path = path, .os_error = EFBIG});
}

void remove_dead_scratch(const Folder& folder, std::string_view stem) {
  const auto names = folder.names_if_listed();
  // A folder that cannot be listed keeps its dead files: the save itself does not depend on them.
  if (!names) return;
  for (const std::string& name : *names)
    // Both directions, because the name of the scratch file can hold a cut NAME, shorter than `stem`.
    if (const std::string_view of = scratch_stem(name); !of.empty() && (of.starts_with(stem) || stem.starts_with(of)))
      remove_if_dead(folder, name);
}

std::string sync_folder(const Folder& folder) {
  int result = finished([&] { return sys::fsync(folder.handle()); });
  // Some sandboxes allow fdatasync() only. For the names in a folder both do the same.
  if (is_refusal(result) && finished([&] { return sys::fdatasync(folder.handle()); }) == 0) result = 0;
  // File systems that cannot sync a folder answer EINVAL or EROFS: their renames are as durable as they get.
  if (result == 0 || result == -EINVAL || result == -EROFS) return {};
  if (!is_refusal(result))
    throw Error(ErrorCode::io, "fsync() of the folder", {.path = folder.path(), .os_error = -result});
  return fmt::format("fsync of the folder: {}: a power failure can restore the old file", words(result));
}

void remove_file(const Folder& folder, const std::string& name) {
  const int result = finished([&] { return sys::unlink(folder.handle(), name.c_str()); });
  if (result < 0 && result != -ENOENT)
    throw Error(ErrorCode::io, "unlink()", {.path = folder.path_of(name), .os_error = -result});
}

}  // namespace heft::mmap
