// Sources and storages of a caller's: bytes in memory behind the public interfaces.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "heft/completion.hpp"
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

/// A store behind a network: requests of read_async() are queued, and answered newest first by a thread of the store's.
/// Its members are set before it is opened.
class ServedSource : public TextSource {
 public:
  enum class Fault { none, fails, fails_otherwise, throws, throws_after_answer, drops };

  ServedSource(std::string name, std::string bytes) : TextSource(std::move(name), std::move(bytes)) {}
  ~ServedSource() override {
    if (!server_.joinable()) return;
    {
      const std::scoped_lock lock(mutex_);
      closing_ = true;
      changed_.notify_all();
    }
    server_.join();
  }

  /// Requests that are queued before the first is answered: until then the store is slow. A stop request ends that.
  std::size_t gather = 1;
  /// Called by the store's thread when they are queued, before it answers.
  std::function<void()> on_gathered = [] {};
  /// The request that goes wrong, counted from 0, and how.
  std::size_t fault_at = SIZE_MAX;
  Fault fault = Fault::none;
  /// Called before request number `n` is answered.
  std::function<void(std::size_t n)> before_answer = [](std::size_t) {};

  void read_async(ReadRequest request, std::stop_token stop, Completion completion) const override {
    std::unique_lock lock(mutex_);
    const std::size_t number = requests_++;
    const bool is_faulty = number == fault_at;
    if (is_faulty) fault_offset_ = request.offset;
    if (is_faulty && fault == Fault::throws) throw Error(ErrorCode::io, "the connection was refused");
    if (is_faulty && fault == Fault::drops) return;
    max_request_ = std::max<std::uint64_t>(max_request_, request.into.size());
    offsets_.push_back(request.offset);
    max_in_flight_ = std::max(max_in_flight_, ++in_flight_);
    if (is_faulty && fault == Fault::throws_after_answer) {
      lock.unlock();
      answer({number, request, std::move(completion), nullptr});
      throw Error(ErrorCode::io, "the connection was refused");
    }
    queue_.push_back({number, request, std::move(completion), nullptr});
    queue_.back().stopped = std::make_unique<std::stop_callback<std::function<void()>>>(stop, [this] { stop_now(); });
    if (!server_.joinable()) server_ = std::thread([this] { serve(); });
    changed_.notify_all();
  }

  [[nodiscard]] std::size_t requests() const { return locked(requests_); }
  [[nodiscard]] std::size_t in_flight() const { return locked(in_flight_); }
  [[nodiscard]] std::size_t max_in_flight() const { return locked(max_in_flight_); }
  [[nodiscard]] std::uint64_t max_request_bytes() const { return locked(max_request_); }
  [[nodiscard]] std::vector<std::uint64_t> offsets() const { return locked(offsets_); }
  /// Returns the offset of the request that went wrong.
  [[nodiscard]] std::uint64_t fault_offset() const { return locked(fault_offset_); }
  [[nodiscard]] bool was_stopped() const { return was_stopped_; }

 private:
  struct Queued {
    std::size_t number = 0;
    ReadRequest request;
    Completion completion;
    std::unique_ptr<std::stop_callback<std::function<void()>>> stopped;
  };

  template <class T>
  [[nodiscard]] T locked(const T& value) const {
    const std::scoped_lock lock(mutex_);
    return value;
  }

  // May run inside read_async(), under the lock: it only sets a flag that the store looks at when it is woken.
  void stop_now() const {
    was_stopped_ = true;
    changed_.notify_all();
  }

  void serve() const {
    std::unique_lock lock(mutex_);
    for (;;) {
      // A stop request may come between the test and the wait: the store looks again after a moment.
      while (!closing_ && (queue_.empty() || (!gathered_ && queue_.size() < gather && !was_stopped_)))
        changed_.wait_for(lock, std::chrono::milliseconds(1));
      if (queue_.empty()) return;
      if (!gathered_ && queue_.size() >= gather) {
        gathered_ = true;
        lock.unlock();
        on_gathered();
        lock.lock();
      }
      Queued next = std::move(queue_.back());
      queue_.pop_back();
      lock.unlock();
      next.stopped.reset();
      answer(std::move(next));
      lock.lock();
    }
  }

  void answer(Queued next) const {
    before_answer(next.number);
    copy(next.request.offset, next.request.into);
    {
      const std::scoped_lock lock(mutex_);
      --in_flight_;
    }
    if (next.number != fault_at || fault == Fault::throws_after_answer)
      next.completion.succeed();
    else if (fault == Fault::fails_otherwise)
      next.completion.fail(std::make_exception_ptr(std::runtime_error("no heft::Error")));
    else
      next.completion.fail(std::make_exception_ptr(Error(ErrorCode::io, "the store is on fire")));
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::vector<Queued> queue_;
  mutable std::size_t requests_ = 0;
  mutable std::size_t in_flight_ = 0;
  mutable std::size_t max_in_flight_ = 0;
  mutable std::uint64_t max_request_ = 0;
  mutable std::vector<std::uint64_t> offsets_;
  mutable std::uint64_t fault_offset_ = 0;
  mutable std::atomic<bool> was_stopped_ = false;
  mutable bool gathered_ = false;
  mutable bool closing_ = false;
  mutable std::thread server_;
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
