#include "mmap/scratch_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "heft/error.hpp"
#include "mmap/syscalls.hpp"
#include "mmap/write_syscalls.hpp"

namespace heft::mmap {
namespace {

// Linux transfers no more than this in one call, whatever is asked.
constexpr std::size_t most_bytes_a_call = 0x7ffff000;
constexpr std::size_t longest_name = 255;
constexpr ::mode_t permissions = 07777;

std::string joined(const std::string& folder, const std::string& name) { return folder.ends_with('/') ? folder + name : folder + '/' + name; }

// The call again as long as a signal interrupts it.
template <class Call>
auto finished(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

// Unpredictable, or another user of the folder could put a file of that name there first and stop us.
std::string scratch_name(const std::string& name, const std::string& path) {
  std::uint64_t random = 0;
  const auto got = finished([&] { return sys::getrandom(std::as_writable_bytes(std::span(&random, 1))); });
  if (got != sizeof random)
    throw Error(ErrorCode::io, "no random bytes for the name of a scratch file", {.path = path, .os_error = static_cast<int>(got < 0 ? -got : EIO)});
  const std::string tail = fmt::format(".heft-{:016x}", random);
  return "." + name.substr(0, longest_name - 1 - tail.size()) + tail;
}

// Permissions of the regular file of that name, or nothing when the name is free.
std::optional<::mode_t> replaced_mode(const Folder& folder, const std::string& name, const std::string& path) {
  struct ::stat status {};
  const int result = finished([&] { return sys::fstatat(folder.handle(), name.c_str(), status); });
  if (result == -ENOENT) return std::nullopt;  // or a symlink to nowhere, which the rename replaces
  if (result < 0) throw Error(ErrorCode::io, "cannot be examined", {.path = path, .os_error = -result});
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::refused, "expected a regular file to replace, found something else", {.path = path});
  return status.st_mode & permissions;
}

}  // namespace

ScratchFile::ScratchFile(std::shared_ptr<const Folder> folder, std::string name)
    : folder_(std::move(folder)), name_(std::move(name)), path_(joined(folder_->path(), name_)) {}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      path_(std::move(other.path_)),
      scratch_(std::exchange(other.scratch_, {})),
      handle_(std::exchange(other.handle_, -1)) {}

ScratchFile::~ScratchFile() {
  if (handle_ >= 0) sys::close_written(handle_);
  if (!scratch_.empty()) sys::unlink(folder_->handle(), scratch_.c_str());
}

ScratchFile ScratchFile::create(std::shared_ptr<const Folder> folder, std::string name) {
  ScratchFile file(std::move(folder), std::move(name));
  const auto replaced = replaced_mode(*file.folder_, file.name_, file.path_);
  // A private file must not be readable by others even before its final permissions are set.
  file.open(replaced ? S_IRUSR | S_IWUSR : S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH);
  if (replaced)
    if (const int result = finished([&] { return sys::fchmod(file.handle_, *replaced); }); result < 0)
      file.fail("cannot give the new file the permissions of the old one", result);
  return file;
}

void ScratchFile::open(::mode_t mode) {
  std::string name;
  int handle = -EEXIST;
  while (handle == -EEXIST || handle == -EINTR) {
    name = scratch_name(name_, path_);
    handle = sys::create(folder_->handle(), name.c_str(), mode);
  }
  if (handle < 0) fail("cannot create a scratch file beside it", handle);
  scratch_ = std::move(name);
  handle_ = handle;
}

void ScratchFile::reserve(std::uint64_t size) {
  if (size == 0) return;
  const int result = finished([&] { return sys::fallocate(handle_, size); });
  if (result == 0) return;
  if (result != -EOPNOTSUPP && result != -ENOSYS && result != -EINVAL) fail(fmt::format("no room for its {} bytes", size), result);
  constexpr std::byte last{};
  write(size - 1, {&last, 1});
}

void ScratchFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const std::int64_t put = sys::pwrite(handle_, offset, from.first(std::min(from.size(), most_bytes_a_call)));
    if (put == -EINTR) continue;
    if (put <= 0)
      throw Error(ErrorCode::io, fmt::format("cannot write {} bytes", from.size()),
                  {.path = path_, .offset = offset, .os_error = put < 0 ? static_cast<int>(-put) : EIO});
    from = from.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void ScratchFile::sync() {
  if (const int result = finished([&] { return sys::fsync(handle_); }); result < 0) fail("cannot be written to the device", result);
}

void ScratchFile::close() {
  // Linux has closed the descriptor whatever it returns, so EINTR is no reason to close again.
  const int result = sys::close_written(std::exchange(handle_, -1));
  if (result < 0 && result != -EINTR) fail("cannot be closed", result);
}

void ScratchFile::publish() {
  const int result = finished([&] { return sys::rename(folder_->handle(), scratch_.c_str(), name_.c_str()); });
  if (result < 0) fail("cannot be put in its place", result);
  scratch_.clear();
}

void ScratchFile::fail(const std::string& sentence, std::int64_t result) const {
  throw Error(ErrorCode::io, sentence, {.path = path_, .os_error = static_cast<int>(-result)});
}

void sync_folder(const Folder& folder) {
  const int result = finished([&] { return sys::fsync(folder.handle()); });
  if (result < 0 && result != -EINVAL && result != -EROFS)
    throw Error(ErrorCode::io, "the folder cannot be written to the device", {.path = folder.path(), .os_error = -result});
}

void remove_file(const Folder& folder, const std::string& name) {
  const int result = finished([&] { return sys::unlink(folder.handle(), name.c_str()); });
  if (result < 0 && result != -ENOENT)
    throw Error(ErrorCode::io, "cannot be removed", {.path = joined(folder.path(), name), .os_error = -result});
}

}  // namespace heft::mmap
