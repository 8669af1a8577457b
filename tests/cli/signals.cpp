// Commands that a signal ends in the middle of a file, at the n-th call that writes: nothing is left behind, and the
// status is 128 + the signal.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "cli_run.hpp"
#include "support/faulty_write_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::heft_command;
using heft::test::TempFolder;
using heft::test::WriteCall;
using heft::test::WriteFaultPlan;

namespace {

namespace fs = std::filesystem;

// 48 MB in two tensors: three batches and more.
std::string large_model(const TempFolder& folder) {
  heft::test::SafetensorsBuilder builder;
  for (const char* name : {"a", "b"}) builder.add(name, "I8", {24'000'000}, heft::test::pattern(24'000'000, 3));
  return folder.write("large.safetensors", builder.build());
}

struct Ended {
  int status = -1;  // of exit
  int signal = 0;   // that killed it
};

template <class Child>
Ended ended(Child child) {
  const pid_t process = ::fork();
  REQUIRE(process >= 0);
  if (process == 0) ::_exit(child());
  int status = 0;
  REQUIRE(::waitpid(process, &status, 0) == process);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

// A conversion in a process of its own, which gets `signal` at the write number `write`.
Ended converted(const std::string& source, const fs::path& destination, int signal, std::uint64_t write, bool no_unnamed,
                bool ignored = false) {
  return ended([&] {
    if (ignored) std::signal(signal, SIG_IGN);
    const WriteFaultPlan plan({.call = WriteCall::pwrite, .skip = write, .times = 1, .signal = signal, .no_unnamed = no_unnamed});
    return heft_command({"convert", source, destination.string(), "--shard-size", "25MB"}).status;
  });
}

bool forks_can_start_threads() {
#if defined(__SANITIZE_THREAD__)
  heft::test::skip("a process forked under TSan cannot start threads");
  return false;
#else
  return true;
#endif
}

}  // namespace

TEST_CASE("signals: Ctrl-C, SIGTERM and SIGHUP end a conversion with 128 + the signal, and nothing is left of it") {
  if (!forks_can_start_threads()) return;
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    for (const bool no_unnamed : {false, true})
      for (const std::uint64_t write : {0, 1, 3}) {
        CAPTURE(signal);
        CAPTURE(write);
        const TempFolder folder;
        const Ended end = converted(source, folder.path() / "model.safetensors", signal, write, no_unnamed);
        CHECK(end.signal == 0);
        CHECK(end.status == 128 + signal);
        CHECK(fs::is_empty(folder.path()));
      }
}

TEST_CASE("signals: what a process was started to ignore does not end it") {
  if (!forks_can_start_threads()) return;
  const TempFolder sources;
  const std::string source = large_model(sources);
  const TempFolder folder;
  const Ended end = converted(source, folder.path() / "model.safetensors", SIGHUP, 1, false, /*ignored=*/true);
  CHECK(end.status == 0);
  CHECK(heft_command({"hash", (folder.path() / "model.safetensors.index.json").string()}).out == heft_command({"hash", source}).out);
}

TEST_CASE("signals: a killed conversion leaves no scratch file, or one that the next of the same name removes") {
  if (!forks_can_start_threads()) return;
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const bool no_unnamed : {false, true}) {
    const TempFolder folder;
    const Ended end = converted(source, folder.path() / "model.safetensors", SIGKILL, 1, no_unnamed);
    CHECK(end.signal == SIGKILL);
    CHECK(fs::is_empty(folder.path()) != no_unnamed);
    REQUIRE(heft_command({"convert", source, (folder.path() / "model.safetensors").string()}).status == 0);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("signals: killed at any call that writes, a conversion leaves the old file whole or the new one") {
  if (!forks_can_start_threads()) return;
  const TempFolder sources;
  heft::test::SafetensorsBuilder older, newer;
  const std::string old_model = sources.write("old.safetensors", older.add("a", "I8", {1000}, heft::test::pattern(1000, 7)).build());
  const std::string new_model = sources.write("new.safetensors", newer.add("a", "I8", {100'000}, heft::test::pattern(100'000, 3)).build());
  const std::string old_hashes = heft_command({"hash", old_model}).out;
  const std::string new_hashes = heft_command({"hash", new_model}).out;
  for (const char* name : {"model.safetensors", "model.npz", "model.gguf"}) {
    const TempFolder folder;
    const std::string path = folder.path() / name;
    Ended end;
    std::uint64_t call = 0;
    for (; end.status == -1; ++call) {
      CAPTURE(name);
      CAPTURE(call);
      REQUIRE(heft_command({"convert", old_model, path}).status == 0);
      end = ended([&] {
        const WriteFaultPlan plan({.skip = call, .times = 1, .kills = true});
        return heft_command({"convert", new_model, path}).status;
      });
      CHECK(end.signal == (end.status == -1 ? SIGKILL : 0));
      const std::string found = heft_command({"hash", path}).out;
      CHECK((found == new_hashes || (end.status == -1 && found == old_hashes)));
      CHECK(heft_command({"verify", path}).status == 0);
    }
    CHECK(end.status == 0);
    CHECK(call >= 6);  // create, write, sync, link, rename, sync the folder: each was the last of a process
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("signals: a limit on files' sizes is one line and status 2, not SIGXFSZ") {
  if (!forks_can_start_threads()) return;
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const bool no_unnamed : {false, true}) {
    const TempFolder folder;
    const Ended end = ended([&] {
      const ::rlimit limit{.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 99;
      const WriteFaultPlan plan({.times = 0, .no_unnamed = no_unnamed});
      const auto run = heft_command({"convert", source, (folder.path() / "model.safetensors").string()});
      return run.err.find("RLIMIT_FSIZE is 1048576") == std::string::npos ? 98 : run.status;
    });
    CHECK(end.signal == 0);
    CHECK(end.status == 2);
    CHECK(fs::is_empty(folder.path()));
  }
}
