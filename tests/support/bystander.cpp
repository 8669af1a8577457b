#include "support/bystander.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace heft::test {

std::string_view name(Doing doing) {
  switch (doing) {
    case Doing::rewrite: return "rewrite";
    case Doing::overwrite: return "overwrite";
    case Doing::restore_time: return "restore_time";
    case Doing::truncate: return "truncate";
    case Doing::append: return "append";
    case Doing::rename_over: return "rename_over";
    case Doing::rename_away: return "rename_away";
    case Doing::remove: return "remove";
    case Doing::change_mode: return "change_mode";
    case Doing::add_link: return "add_link";
    case Doing::count_: break;
  }
  return "nothing";
}

bool keeps_bytes(Doing doing) {
  return doing == Doing::rename_over || doing == Doing::rename_away || doing == Doing::remove ||
         doing == Doing::change_mode || doing == Doing::add_link;
}

Bystander::Bystander(Doing doing, std::filesystem::path path, std::string content)
    : doing_(doing), path_(std::move(path)), content_(std::move(content)) {
  struct ::stat status {};
  REQUIRE(::stat(path_.c_str(), &status) == 0);
  mtime_ = {status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

Bystander::~Bystander() = default;

void Bystander::act() {
  if (std::exchange(acted_, true)) return;
  const std::filesystem::path other = path_.string() + ".other";
  std::filesystem::remove(other);
  switch (doing_) {
    case Doing::rewrite: return write(O_TRUNC);
    case Doing::overwrite:
    case Doing::restore_time:
    case Doing::truncate: return write(0);
    case Doing::append: return write(O_APPEND);
    case Doing::rename_over: {
      const int handle = ::open(other.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
      if (handle >= 0) write_to(handle);
      std::filesystem::rename(other, path_);
      return;
    }
    case Doing::rename_away: return std::filesystem::rename(path_, other);
    case Doing::remove: return static_cast<void>(std::filesystem::remove(path_));
    case Doing::change_mode: return static_cast<void>(::chmod(path_.c_str(), 0640));
    case Doing::add_link: return std::filesystem::create_hard_link(path_, other);
    case Doing::count_: break;
  }
}

// A lease blocks a process that opens the file for writing: the kernel breaks the lease, and the writer waits.
void Bystander::write(int flags) {
  flags |= O_WRONLY | O_CLOEXEC;
  if (const int handle = ::open(path_.c_str(), flags | O_NONBLOCK); handle >= 0) return write_to(handle);
  if (errno != EWOULDBLOCK) return;
  writer_ = std::jthread([this, flags] {
    if (const int handle = ::open(path_.c_str(), flags); handle >= 0) write_to(handle);
  });
}

void Bystander::write_to(int handle) const {
  if (doing_ == Doing::truncate) {
    static_cast<void>(::ftruncate(handle, static_cast<off_t>(content_.size() / 2)) == 0);
  } else {
    for (std::string_view left = content_; !left.empty();) {
      const ssize_t done = ::write(handle, left.data(), left.size());
      if (done <= 0) break;
      left.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  if (doing_ == Doing::restore_time) {
    const struct ::timespec times[] = {{0, UTIME_OMIT}, {mtime_.seconds, mtime_.nanoseconds}};
    ::futimens(handle, times);
  }
  ::close(handle);
}

}  // namespace heft::test
