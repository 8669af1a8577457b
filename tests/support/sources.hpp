// Sources and storages of a caller's: bytes in memory behind the public interfaces.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/error.hpp"
#include "heft/source.hpp"
#include "heft/storage.hpp"

namespace heft::test {

/// Bytes that are read by calls. Its members are set before it is opened.
class TextSource : public ByteSource {
 public:
  TextSource(std::string name, std::string bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)), identity_{.object = "object of " + name_, .version = "1"} {}

  Capabilities able = {};
  /// Called by read() with the offset, before it reads.
  std::function<void(std::uint64_t offset)> before_read;

  [[nodiscard]] std::string_view path() const noexcept override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return bytes_.size(); }
  [[nodiscard]] Capabilities capabilities() const override { return able; }
  [[nodiscard]] const SourceIdentity& identity() const noexcept override { return identity_; }
  void check_unchanged() const override {
    ++checks;
    if (version_now() != identity_.version)
      throw Error(ErrorCode::changed_on_disk, "expected version " + identity_.version + ", found " + version_now());
  }
  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    ++reads;
    if (before_read) before_read(offset);
    copy(offset, into);
  }

  /// Makes the bytes another version, which check_unchanged() finds.
  void set_version_now(std::string version) {
    const std::scoped_lock lock(mutex_);
    now_ = std::move(version);
  }
  [[nodiscard]] std::string version_now() const {
    const std::scoped_lock lock(mutex_);
    return now_;
  }
  void set_identity(SourceIdentity identity) { identity_ = std::move(identity); }
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

  mutable std::atomic<unsigned> reads = 0;
  mutable std::atomic<unsigned> checks = 0;

 protected:
  void copy(std::uint64_t offset, std::span<std::byte> into) const {
    if (offset > bytes_.size() || into.size() > bytes_.size() - offset)
      throw Error(ErrorCode::out_of_range, "a read past the end");
    std::memcpy(into.data(), bytes_.data() + offset, into.size());
  }

 private:
  std::string name_;
  std::string bytes_;
  SourceIdentity identity_;
  mutable std::mutex mutex_;
  std::string now_ = "1";
};

/// Files in a std::map. Its members are set before it is opened.
class MapStorage : public Storage {
 public:
  std::map<std::string, std::shared_ptr<const TextSource>, std::less<>> files;
  std::map<std::string, std::shared_ptr<const MapStorage>, std::less<>> folders;
  bool lists = true;
  /// Names that open() was asked for, in order.
  mutable std::vector<std::string> opened;

  void add(const std::string& name, std::string bytes) {
    files[name] = std::make_shared<TextSource>("map/" + name, std::move(bytes));
  }

  [[nodiscard]] std::string_view path() const noexcept override { return "map"; }
  [[nodiscard]] std::vector<std::string> list() const override {
    if (!lists) throw Error(ErrorCode::unsupported, "a map that does not list");
    std::vector<std::string> names;
    for (auto file = files.rbegin(); file != files.rend(); ++file) names.push_back(file->first);
    return names;
  }
  [[nodiscard]] std::shared_ptr<const ByteSource> open(std::string_view plain_name) const override {
    {
      const std::scoped_lock lock(mutex_);
      opened.emplace_back(plain_name);
    }
    const auto found = files.find(plain_name);
    if (found == files.end()) throw Error(ErrorCode::not_found, "no such key");
    return found->second;
  }
  [[nodiscard]] std::shared_ptr<const Storage> folder(std::string_view plain_name) const override {
    const auto found = folders.find(plain_name);
    if (found == folders.end()) throw Error(ErrorCode::not_found, "no such prefix");
    return found->second;
  }
  [[nodiscard]] SourceIdentity identity_now(std::string_view plain_name) const override {
    const auto found = files.find(plain_name);
    if (found == files.end()) return {};
    return {.object = found->second->identity().object, .version = found->second->version_now()};
  }

 private:
  mutable std::mutex mutex_;
};

}  // namespace heft::test
