// Another process truncates the file while `heft load` runs: an Error and status 2, never a signal.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>

#include "cli_run.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::TempFolder;

namespace {

constexpr std::uint64_t payload_bytes = 256u << 20;

// A tensor of 256 MiB whose payload takes no room on the disk, but does in the page cache once it was read.
std::filesystem::path large_model(const TempFolder& folder, const std::string& name) {
  const std::string header = R"({"w":{"dtype":"F16","shape":[)" + std::to_string(payload_bytes / 2) + R"(],"data_offsets":[0,)" + std::to_string(payload_bytes) + "]}}";
  const std::string head = heft::test::safetensors_file(header);
  const auto path = folder.write(name, head);
  std::filesystem::resize_file(path, head.size() + payload_bytes);
  return path;
}

// Status of `heft load` in a child process whose file is cut to `size` after `delay`; -1 for a signal.
int status_of_load(const std::filesystem::path& path, std::uint64_t size, std::chrono::microseconds delay, std::initializer_list<std::string> words) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(heft::test::heft_command(words).status);
  std::this_thread::sleep_for(delay);
  // Waits while the child holds a lease, so it must not be this thread that reaps the child first.
  CHECK(::truncate(path.c_str(), static_cast<off_t>(size)) == 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("load: a file truncated by another process is an error, never a signal, on every path and at any moment") {
  const TempFolder folder;
  std::size_t refused = 0;
  for (const std::string io : {"automatic", "map", "read", "direct"}) {
    for (const int milliseconds : {2, 10, 25, 50, 90}) {
      for (const std::uint64_t size : {std::uint64_t{0}, payload_bytes / 2}) {
        const auto path = large_model(folder, "model.safetensors");
        const int status = status_of_load(path, size, std::chrono::milliseconds(milliseconds), {"load", path.string(), "--io", io, "--dtype", "f32"});
        CHECK_MESSAGE((status == 0 || status == 2), io << " after " << milliseconds << " ms: status " << status);
        refused += status == 2;
        std::filesystem::remove(path);
      }
    }
  }
  CHECK(refused > 0);  // or nothing was ever cut in time, and the test has shown nothing
}
