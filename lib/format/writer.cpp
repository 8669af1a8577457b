#include "format/writer.hpp"

namespace heft::format {

std::unordered_map<std::string_view, std::size_t> last_of_each(
    std::span<const std::pair<std::string, std::string>> pairs) {
  std::unordered_map<std::string_view, std::size_t> last;
  for (std::size_t i = 0; i < pairs.size(); ++i) last[pairs[i].first] = i;
  return last;
}

}  // namespace heft::format
