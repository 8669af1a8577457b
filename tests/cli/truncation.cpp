// A file that another process truncates before the n-th system call of `heft load`, on every path: an Error and status
// 2, never a signal.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "cli_run.hpp"
#include "support/bystander.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

namespace test = heft::test;
namespace fs = std::filesystem;
using test::Call;
using test::FaultPlan;

constexpr std::uint64_t payload_bytes = 2u << 20;

// A tensor whose payload takes no room on the disk, but does in the page cache once it was read.
fs::path sparse_model(const test::TempFolder& folder) {
  const std::string header = R"({"w":{"dtype":"F16","shape":[)" + std::to_string(payload_bytes / 2) +
                             R"(],"data_offsets":[0,)" + std::to_string(payload_bytes) + "]}}";
  const std::string head = test::safetensors_file(header);
  const fs::path path = folder.write("model.safetensors", head);
  fs::resize_file(path, head.size() + payload_bytes);
  return path;
}

test::CliRun load(const fs::path& path, const std::string& io) {
  return test::heft_command({"load", path.string(), "--io", io, "--dtype", "f32"});
}

std::uint64_t calls_of_a_load(const fs::path& path, const std::string& io) {
  const FaultPlan none({});
  REQUIRE(load(path, io).status == heft::cli::ok);
  return none.calls(Call::any);
}

struct Tally {
  unsigned refused = 0;
  unsigned noted = 0;
  unsigned held_up = 0;    // until the load was over, or not: the kernel decides
  unsigned unreached = 0;  // by threads that shared the work another way and made fewer calls
};

// The file is cut to half of `content_bytes` before call number `n`.
void cut_at(std::uint64_t n, std::uint64_t content_bytes, const std::string& io, Tally& tally) {
  const test::TempFolder folder;
  const fs::path path = sparse_model(folder);
  test::Bystander bystander(test::Doing::truncate, path, std::string(content_bytes, 'x'));
  const FaultPlan plan({{.call = Call::any, .skip = n, .times = 1, .before = [&] { bystander.act(); }}});
  const test::CliRun run = load(path, io);
  INFO(io << ", cut to " << content_bytes / 2 << " before call " << n << ": status " << run.status << ", " << run.err);
  CHECK((run.status == heft::cli::error || run.status == heft::cli::ok));
  if (!bystander.has_acted()) {
    CHECK(run.status == heft::cli::ok);
    ++tally.unreached;
  } else if (bystander.was_held_up()) {
    ++tally.held_up;
  } else if (run.status == heft::cli::error) {
    ++tally.refused;
  } else {
    CHECK(run.err.find("was written to after it was read") != std::string::npos);
    ++tally.noted;
  }
}

}  // namespace

TEST_CASE("truncation: a file cut before any call of a load is an Error, never a signal, on every path") {
  const test::TempFolder folder;
  const fs::path whole = sparse_model(folder);
  for (const std::string io : {"automatic", "map", "read", "direct"})
    for (const std::uint64_t content_bytes : {std::uint64_t{0}, payload_bytes}) {
      Tally tally;
      const std::uint64_t calls = calls_of_a_load(whole, io);
      for (std::uint64_t n = 0; n < calls; ++n) cut_at(n, content_bytes, io, tally);
      INFO(io << ": refused " << tally.refused << ", noted " << tally.noted << ", held up " << tally.held_up
              << ", unreached " << tally.unreached << " of " << calls);
      CHECK(tally.refused + tally.noted + tally.held_up + tally.unreached == calls);
      CHECK(4 * tally.refused > calls);
      CHECK(tally.noted <= 1);  // the last call of all is that which asks whether the file was replaced
    }
}
