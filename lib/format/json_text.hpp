// format/json_text.hpp: JSON on the way out.
#pragma once

#include <string>
#include <string_view>

namespace heft::format {

/// Appends `text` as a JSON string with its quotes. Precondition: `text` is UTF-8.
void append_json_string(std::string& to, std::string_view text);

}  // namespace heft::format
