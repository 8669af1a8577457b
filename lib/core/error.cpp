#include "heft/error.hpp"

#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft {
namespace {

std::string line(const std::string& sentence, const ErrorPlace& place) {
  std::string out;
  if (!place.path.empty()) out += fmt::format("{}: ", core::escaped(place.path, 1000));
  if (!place.tensor.empty()) out += fmt::format("tensor '{}': ", core::escaped(place.tensor));
  const std::string system = place.os_error == 0 ? std::string() : std::generic_category().message(place.os_error);
  out += sentence;
  if (place.offset) out += fmt::format(" (at byte {})", *place.offset);
  if (!system.empty() && sentence != system) out += fmt::format(": {}", system);
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

Error::Error(ErrorCode code, std::string sentence, ErrorPlace place)
    : Error(Printable{core::printable(std::move(sentence))}, code, std::move(place)) {}

Error::Error(Printable sentence, ErrorCode code, ErrorPlace place)
    : std::runtime_error(line(sentence.text, place)),
      code_(code),
      sentence_(std::move(sentence.text)),
      place_(std::move(place)) {}

Error Error::with_path(std::string_view path) const {
  if (!place_.path.empty()) return *this;
  ErrorPlace place = place_;
  place.path = path;
  return Error(Printable{sentence_}, code_, std::move(place));
}

Error Error::with_tensor(std::string_view tensor) const {
  if (!place_.tensor.empty()) return *this;
  ErrorPlace place = place_;
  place.tensor = tensor;
  return Error(Printable{sentence_}, code_, std::move(place));
}

}  // namespace heft
