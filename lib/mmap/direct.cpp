#include "mmap/direct.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>

#include <bit>
#include <system_error>
#include <utility>

#include "heft/error.hpp"
#include "mmap/descriptor.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

// Returns true for file systems that have no device behind the page cache.
bool lives_in_memory(int handle) noexcept {
  const std::int64_t type = sys::fstatfs_type(handle);
  return type == TMPFS_MAGIC || type == RAMFS_MAGIC || type == HUGETLBFS_MAGIC;
}

// Returns false also when fstat() fails: then nothing proves that it is the file.
bool is_same_file(int handle, const Identity& identity) noexcept {
  struct ::stat status {};
  return sys::fstat(handle, status) == 0 && status.st_dev == identity.device && status.st_ino == identity.inode;
}

// Returns the alignment that the file system reports, or a page when it reports none.
sys::DirectAlignment alignment_of(int handle) noexcept {
  sys::DirectAlignment alignment;
  if (sys::statx_direct(handle, alignment) == 0) return alignment;
  const auto page = static_cast<std::uint32_t>(sys::page_size());
  return {.memory = page, .offset = page};
}

}  // namespace

int DirectFile::handle() const noexcept { return access_.open->get(); }

DirectFile::Opening DirectFile::open(std::shared_ptr<const File> file) {
  if (DirectAccess kept = file->direct(); kept.open)
    return {.file = std::make_shared<const DirectFile>(std::move(kept), std::move(file)), .reason = {}};
  const auto open = file->descriptor();
  if (lives_in_memory(open->get()))
    return {.file = nullptr, .reason = "the file is in a memory file system: no page cache to bypass"};
  // Without O_NONBLOCK, with which io_uring returns EAGAIN instead of waiting. The file is known to be a regular one,
  // so that open() cannot hang.
  const std::string link = fmt::format("/proc/self/fd/{}", open->get());
  Descriptor opened = open_at(AT_FDCWD, link.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (const int error = opened.os_error())
    return {.file = nullptr, .reason = "open(O_DIRECT): " + std::generic_category().message(error)};
  // /proc can be another one than the process's own (a container that mounts it over, a chroot).
  if (!is_same_file(opened.get(), file->identity()))
    return {.file = nullptr, .reason = "/proc/self/fd does not lead to the opened file"};
  const auto [memory, offset] = alignment_of(opened.get());
  // statx reports alignments of 0 for a file without direct reads (encrypted, compressed, with verity), which is no
  // power of two.
  if (!std::has_single_bit(memory) || !std::has_single_bit(offset))
    return {.file = nullptr, .reason = "the file system does no direct reads of this file"};
  const DirectAccess access{std::make_shared<const Descriptor>(std::move(opened)), memory, offset};
  // Kept for the next load: opening and examining the file takes longer than a small read.
  file->keep_direct(access);
  return {.file = std::make_shared<const DirectFile>(access, std::move(file)), .reason = {}};
}

}  // namespace heft::mmap
