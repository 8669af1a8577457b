// materialize/window.hpp: tensors of a load that are visited together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "heft/tensor.hpp"

namespace heft::engine {

/// Entries of a plan in windows: those that are visited together, in the order in which they are loaded. Windows of
/// some 512 KiB stay in a processor's cache from the fetch to the visit, and cost little each.
class Windows {
 public:
  /// Adds the entry at that position in the plan to the window that is open.
  void add(std::uint32_t entry) { entries_.push_back(entry); }
  /// Ends the window, if it has entries; the next entry begins another.
  void close() {
    const auto end = static_cast<std::uint32_t>(entries_.size());
    if (end != (ends_.empty() ? 0 : ends_.back())) ends_.push_back(end);
  }
  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
  /// The entries of window number `window`, in the order of add().
  [[nodiscard]] std::span<const std::uint32_t> operator[](std::size_t window) const noexcept {
    const std::uint32_t begin = window == 0 ? 0 : ends_[window - 1];
    return std::span(entries_).subspan(begin, ends_[window] - begin);
  }
  [[nodiscard]] const std::vector<std::uint32_t>& entries() const noexcept { return entries_; }
  [[nodiscard]] std::span<const std::uint32_t> ends() const noexcept { return ends_; }

 private:
  std::vector<std::uint32_t> entries_;
  std::vector<std::uint32_t> ends_;  // of each window, in entries_
};

class VisitRoom;

/// A window whose tensors are loaded. Destroying it gives their memory back to the load, which may wait for it: the
/// visitor may keep windows until those before them have come, and no longer.
class Window {
 public:
  Window(std::size_t number, std::vector<Tensor> tensors, std::shared_ptr<VisitRoom> room) noexcept
      : number_(number), tensors_(std::move(tensors)), room_(std::move(room)) {}
  ~Window();
  Window(Window&& other) noexcept = default;
  Window& operator=(Window&& other) = delete;

  /// In Windows.
  [[nodiscard]] std::size_t number() const noexcept { return number_; }
  /// In the order of Windows.
  [[nodiscard]] std::span<const Tensor> tensors() const noexcept { return tensors_; }

 private:
  std::size_t number_;
  std::vector<Tensor> tensors_;
  std::shared_ptr<VisitRoom> room_;  // null: moved from
};

/// Called once for each window, by the thread that has completed it, several at a time and in any order. An exception
/// ends the load, which throws it.
using Visitor = std::function<void(Window)>;

}  // namespace heft::engine
