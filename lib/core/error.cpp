#include "heft/error.hpp"

#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft {
namespace {

std::string line(const std::string& message, const ErrorPlace& place) {
  std::string out;
  if (!place.path.empty()) out += fmt::format("{}: ", core::escaped(place.path, 1000));
  if (!place.tensor.empty()) out += fmt::format("tensor '{}': ", core::escaped(place.tensor));
  const std::string system = place.os_error == 0 ? std::string() : std::generic_category().message(place.os_error);
  out += message;
  if (place.offset) out += fmt::format(" (at byte {})", *place.offset);
  if (!system.empty() && message != system) out += fmt::format(": {}", system);
  return out;
}

}  // namespace

std::string_view name(ErrorCode code) noexcept {
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
  if (!place_.path.empty()) return *this;
  ErrorPlace place = place_;
  place.path = path;
  return Error(Printable{message_}, code_, std::move(place));
}

Error Error::with_tensor(std::string_view tensor) const {
  if (!place_.tensor.empty()) return *this;
  ErrorPlace place = place_;
  place.tensor = tensor;
  return Error(Printable{message_}, code_, std::move(place));
}

}  // namespace heft
