#include "materialize/placements.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

Error refusal(ErrorCode code, std::string message, const TensorSpec& tensor) {
  return Error(code, std::move(message), {.path = {}, .tensor = std::string(tensor.name)});
}

// Where a tensor starts in its memory. All of the host's is one memory.
struct Start {
  std::int32_t device_type = 0;
  std::int32_t device_id = 0;
  std::uintptr_t memory = 0;
  std::uint64_t offset = 0;

  [[nodiscard]] auto memory_key() const noexcept { return std::tuple(device_type, device_id, memory); }
  [[nodiscard]] auto key() const noexcept { return std::tuple(device_type, device_id, memory, offset); }
};

Start start_of(const Placement& place, Destination::Kind kind) noexcept {
  const auto data = reinterpret_cast<std::uintptr_t>(place.data);
  // Two pairs of base and offset can be the same host address: the sum is compared. A device's `data` is a handle, and
  // offsets count inside it.
  if (kind == Destination::Kind::host_writable) return {.offset = data + place.byte_offset};
  return {place.device_type, place.device_id, data, place.byte_offset};
}

void require_apart(std::span<const TensorSpec> tensors, std::span<const Placement> places, Destination::Kind kind) {
  const auto start = [&](std::size_t number) { return start_of(places[number], kind); };
  const auto before = [&](std::size_t a, std::size_t b) { return start(a).key() < start(b).key(); };
  std::vector<std::size_t> order;
  order.reserve(tensors.size());
  // Empty tensors take no place and overlap nothing.
  for (std::size_t number = 0; number < tensors.size(); ++number)
    if (tensors[number].size_bytes != 0) order.push_back(number);
  // Sorted by place, if any two tensors overlap then two neighbours do. Most destinations place in the order of the
  // plan.
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
  for (std::size_t i = 1; i < order.size(); ++i) {
    const Start a = start(order[i - 1]);
    const Start b = start(order[i]);
    // The difference does not wrap: in one memory, offsets are in order.
    if (a.memory_key() == b.memory_key() && b.offset - a.offset < tensors[order[i - 1]].size_bytes)
      throw refusal(ErrorCode::out_of_memory,
                    fmt::format("expected {} bytes of the destination, the next tensor starts after {}",
                                tensors[order[i - 1]].size_bytes, b.offset - a.offset),
                    tensors[order[i - 1]]);
  }
}

void require_place(const TensorSpec& tensor, const Placement& place, Destination::Kind kind) {
  if (tensor.size_bytes == 0) return;
  if (kind == Destination::Kind::host_writable && place.data == nullptr)
    throw refusal(ErrorCode::out_of_memory,
                  fmt::format("expected {} bytes of host memory, the destination returned none", tensor.size_bytes),
                  tensor);
  const std::uint64_t offset = start_of(place, kind).offset;
  if (offset % tensor.alignment != 0)
    throw refusal(
        ErrorCode::misaligned,
        fmt::format("expected a place at a multiple of {}, the destination returned {}", tensor.alignment, offset),
        tensor);
  // Checked for each tensor alone, so that the comparison of neighbours need not.
  if (offset + tensor.size_bytes < offset)
    throw refusal(ErrorCode::out_of_memory, "expected a place inside the address space, its end is outside", tensor);
}

}  // namespace

std::unique_ptr<Allocation> allocate_checked(const Destination& destination, Destination::Kind kind,
                                             std::span<const TensorSpec> tensors) {
  // The destination is the caller's code: null, and a wrong number of places, are errors of it and not assertions.
  std::unique_ptr<Allocation> allocation = destination.allocate(tensors);
  const std::span<const Placement> places = allocation ? allocation->placements() : std::span<const Placement>();
  if (!allocation || places.size() != tensors.size())
    throw Error(ErrorCode::out_of_memory,
                fmt::format("expected a place for each of {} tensors, the destination returned {}", tensors.size(),
                            places.size()));
  for (std::size_t number = 0; number < tensors.size(); ++number) require_place(tensors[number], places[number], kind);
  require_apart(tensors, places, kind);
  return allocation;
}

}  // namespace heft::engine
