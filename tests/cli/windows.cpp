// Commands that read all tensors, of tensors that are larger than a window, and of many that share one.
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "cli/sha256.hpp"
#include "cli_run.hpp"
#include "save/pieces.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::SafetensorsBuilder;
using heft::test::TempFolder;

namespace {

// Large tensors that end anywhere in a window, small ones between them, and some without elements.
std::map<std::string, std::string> model() {
  std::map<std::string, std::string> tensors;
  for (std::uint32_t i = 0; i < 5; ++i) {
    const std::string number = std::to_string(i);
    // Bits of finite numbers: the top bit of the exponent is clear.
    std::string bytes = heft::test::pattern(6 * (300'000 + 7 * i), i + 1);
    for (std::size_t at = 1; at < bytes.size(); at += 2) bytes[at] = static_cast<char>(bytes[at] & 0x3F);
    tensors["large." + number] = bytes;
    for (std::uint32_t j = 0; j < 300; ++j)
      tensors["small." + number + "." + std::to_string(j)] = bytes.substr(j * 6, 6 * (j % 40));
  }
  return tensors;
}

std::string file_of(const TempFolder& folder, const std::string& name,
                    const std::map<std::string, std::string>& tensors) {
  SafetensorsBuilder builder;
  for (const auto& [tensor, bytes] : tensors)
    builder.add(tensor, "BF16", {static_cast<std::int64_t>(bytes.size() / 6), 3}, bytes);
  return folder.write(name, builder.build()).string();
}

void put(std::string& bytes, std::size_t element, std::uint16_t bits) {
  std::memcpy(bytes.data() + 2 * element, &bits, sizeof bits);
}

}  // namespace

TEST_CASE("hash: a tensor of many windows has the digest of its bytes, on every path") {
  const TempFolder folder;
  const std::map<std::string, std::string> tensors = model();
  const std::string path = file_of(folder, "model.safetensors", tensors);
  std::string expected;
  for (const auto& [name, bytes] : tensors)
    expected += heft::cli::sha256(std::as_bytes(std::span(bytes))) + "  " + name + "\n";
  for (const char* io : {"automatic", "map", "direct", "read"})
    CHECK((heft_command({"hash", path, "--io", io}).out == expected));
}

TEST_CASE("verify: NaN and infinities are counted in every window of a tensor, and reported in file order") {
  const TempFolder folder;
  std::map<std::string, std::string> tensors = model();
  const std::string sound = file_of(folder, "sound.safetensors", tensors);
  CHECK(heft_command({"verify", sound}).status == 0);
  constexpr std::size_t window = heft::writer::window_bytes / 2;  // elements
  for (const std::size_t element : {std::size_t{0}, window - 2, window - 1, window, 2 * window + 1})
    put(tensors["large.2"], element, 0x7FC0);
  const std::size_t last = tensors["large.2"].size() / 2 - 1;
  put(tensors["large.2"], last, 0xFF80);
  put(tensors["small.4.39"], 5, 0x7F80);
  put(tensors["large.0"], 17, 0xFF81);
  const CliRun run = heft_command({"verify", file_of(folder, "damaged.safetensors", tensors)});
  CHECK(run.status == 1);
  const std::string::size_type first = run.out.find("large.0: 1 NaN, 0 infinite of 900000\n");
  const std::string::size_type second = run.out.find("large.2: 5 NaN, 1 infinite of 900042\n");
  const std::string::size_type third = run.out.find("small.4.39: 0 NaN, 1 infinite of 117\n");
  CHECK(first == 0);
  CHECK(first < second);
  CHECK(second < third);
  CHECK(third < run.out.size());
  CHECK(run.out.find("3 with NaN or infinite values") != std::string::npos);
}

TEST_CASE("diff: differences in any windows of a tensor are counted together") {
  const TempFolder folder;
  std::map<std::string, std::string> tensors = model();
  for (const std::size_t element : {3u, 300'000u, 899'999u}) put(tensors["large.0"], element, 0x3F80);
  put(tensors["large.3"], 7, 0x0000);
  const std::string a = file_of(folder, "a.safetensors", tensors);
  for (const std::size_t element : {3u, 300'000u}) put(tensors["large.0"], element, 0x4000);
  put(tensors["large.0"], 899'999, 0x4080);
  // Zero with the other sign is another pattern of bits, and the same value.
  put(tensors["large.3"], 7, 0x8000);
  put(tensors["small.1.7"], 20, 0x7FC0);
  const CliRun run = heft_command({"diff", a, file_of(folder, "b.safetensors", tensors)});
  CHECK(run.status == 1);
  CHECK(
      run.out.starts_with("large.0: 3 of 900000 values differ, by at most 3 (relative 0.75)\n"
                          "small.1.7: 1 of 21 values differ, by at most inf (relative inf)\n"));
  CHECK(run.out.ends_with("1503 equal, 2 different, 0 in one only\n"));
}

TEST_CASE("show: statistics are of all windows of a tensor, and the values are the first ones, in any window") {
  const TempFolder folder;
  std::vector<float> values(400'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1000);
  values[131'072] = -5;
  values[399'999] = 5000;
  values[399'998] = std::numeric_limits<float>::infinity();
  values[140'000] = std::numeric_limits<float>::quiet_NaN();
  SafetensorsBuilder builder;
  builder.add("w", "F32", {1000, 400}, heft::test::packed<float>(values));
  const std::string path = folder.write("model.safetensors", builder.build()).string();
  double total = 0;
  for (const float value : values)
    if (std::isfinite(value)) total += static_cast<double>(value);
  const CliRun text = heft_command({"show", path, "w"});
  CHECK(text.status == 0);
  CHECK(text.out.find("  0.0  1.0  2.0  3.0  4.0  5.0  6.0  7.0\n") != std::string::npos);
  CHECK(text.out.find("  ... 399936 more\n") != std::string::npos);
  CHECK(text.out.ends_with(
      fmt::format("min -5, max 5000, mean {} (of finite values), 1 NaN, 1 infinite\n", total / 399'998)));
  // The same of a whole tensor in memory as of windows, and values up to the last but one, which are in the last window.
  const CliRun all = heft_command({"show", path, "w", "--json"});
  const CliRun most = heft_command({"show", path, "w", "--json", "--head", "399999"});
  const auto statistics = [](const CliRun& run) { return run.out.substr(run.out.find("],\"min\"")); };
  CHECK(statistics(all) == statistics(most));
  CHECK((all.out.substr(0, most.out.find("],\"min\"")) == most.out.substr(0, most.out.find("],\"min\""))));
  CHECK(most.out.find("997.0,\"inf\"],") != std::string::npos);
}
