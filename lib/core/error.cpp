#include "heft/error.hpp"

#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft {
namespace {

// Returns what(): "PATH: tensor 'NAME': MESSAGE (at byte OFFSET): ERRNO". Parts that the place lacks are left out.
std::string line(const std::string& message, const ErrorPlace& place) {
  std::string out;
  // Longer than the default of escaped(): paths of nested caches exceed 200 characters, and a cut path cannot be
  // opened.
  if (!place.path.empty()) out += fmt::format("{}: ", core::escaped(place.path, 1000));
  if (!place.tensor.empty()) out += fmt::format("tensor '{}': ", core::escaped(place.tensor));
  const std::string system = place.os_error == 0 ? std::string() : std::generic_category().message(place.os_error);
  out += message;
  if (place.offset) out += fmt::format(" (at byte {})", *place.offset);
  // A file that is not found has the text of errno as its message, which is not repeated.
  if (!system.empty() && message != system) out += fmt::format(": {}", system);
  return out;
}

}  // namespace

std::string_view name(ErrorCode code) noexcept {
  // In the order of ErrorCode.
  static constexpr std::string_view names[] = {
      "unknown",     "io",      "not_found",     "unrecognized", "corrupt",      "ambiguous",     "limit_exceeded",
      "unsupported", "refused", "type_mismatch", "misaligned",   "out_of_range", "out_of_memory", "changed_on_disk",
      "cancelled",
  };
  const auto index = static_cast<std::size_t>(code);
  return index < std::size(names) ? names[index] : "unknown";
}

Error::Error(ErrorCode code, std::string message, ErrorPlace place)
    : Error(Printable{core::printable(std::move(message))}, code, std::move(place)) {}

Error::Error(Printable message, ErrorCode code, ErrorPlace place)
    : std::runtime_error(line(message.text, place)),
      code_(code),
      message_(std::move(message.text)),
      place_(std::move(place)) {}

Error Error::with_path(std::string_view path) const {
  // The innermost place is the exact one: an Error of a shard keeps the shard's path when the index adds its own.
  if (!place_.path.empty()) return *this;
  ErrorPlace place = place_;
  place.path = path;
  // The message is printable already: this constructor skips the pass that the public one makes.
  return Error(Printable{message_}, code_, std::move(place));
}

Error Error::with_tensor(std::string_view tensor) const {
  if (!place_.tensor.empty()) return *this;
  ErrorPlace place = place_;
  place.tensor = tensor;
  return Error(Printable{message_}, code_, std::move(place));
}

}  // namespace heft
