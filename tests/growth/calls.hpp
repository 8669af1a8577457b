// Every command and public call that takes a checkpoint.
#pragma once

#include <vector>

#include "measure.hpp"

namespace heft::test {

/// Those that look at names and values.
[[nodiscard]] std::vector<Call> looking_calls();
/// Those that read payload. `folder` takes what they write.
[[nodiscard]] std::vector<Call> reading_calls(const std::string& folder);

}  // namespace heft::test
