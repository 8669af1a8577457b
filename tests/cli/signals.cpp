// Commands that a signal ends in the middle of a file, at the n-th call that writes: nothing is left behind, and the
// status is 128 + the signal.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "cli_run.hpp"
#include "support/apart.hpp"
#include "support/faulty_write_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::Ended;
using heft::test::heft_command;
using heft::test::TempFolder;
using heft::test::WriteCall;
using heft::test::WriteFault;
using heft::test::WriteFaultPlan;

namespace {

namespace fs = std::filesystem;

// 48 MB in two tensors: three batches and more.
std::string large_model(const TempFolder& folder) {
  heft::test::SafetensorsBuilder builder;
  for (const char* name : {"a", "b"}) builder.add(name, "I8", {24'000'000}, heft::test::pattern(24'000'000, 3));
  return folder.write("large.safetensors", builder.build());
}

// A command, and what befalls the process that runs it.
struct Task {
  int signal = 0;  // sent before the pwrite() number `call`
  std::uint64_t call = 0;
  bool kills = false;  // SIGKILL instead of the call number `call` that writes, whichever
  bool no_unnamed = false;
  bool ignores_signal = false;
  std::uint64_t file_size_limit = RLIM_INFINITY;
  std::vector<std::string> words = {};
};

// One number after the other, then a line for each word.
std::string written(const Task& task) {
  std::ostringstream text;
  text << task.signal << ' ' << task.call << ' ' << task.kills << ' ' << task.no_unnamed << ' ' << task.ignores_signal
       << ' ' << task.file_size_limit << '\n';
  for (const std::string& word : task.words) text << word << '\n';
  return text.str();
}

Task read(const std::string& text) {
  Task task;
  std::istringstream from(text);
  from >> task.signal >> task.call >> task.kills >> task.no_unnamed >> task.ignores_signal >> task.file_size_limit;
  from.ignore();
  for (std::string word; std::getline(from, word);) task.words.push_back(word);
  return task;
}

WriteFault fault_of(const Task& task) {
  if (task.kills) return {.skip = task.call, .times = 1, .kills = true, .no_unnamed = task.no_unnamed};
  return {.call = WriteCall::pwrite,
          .skip = task.call,
          .times = task.signal == 0 ? 0u : 1u,
          .signal = task.signal,
          .no_unnamed = task.no_unnamed};
}

constexpr const char* a_command = "signals: a command in a process of its own";

Ended ended(const Task& task) { return heft::test::run_apart(a_command, written(task)); }

// A conversion to shards in a process of its own.
Ended converted(const std::string& source, const fs::path& destination, Task task) {
  task.words = {"convert", source, destination.string(), "--shard-size", "25MB"};
  return ended(task);
}

}  // namespace

TEST_CASE("signals: a command in a process of its own" * doctest::skip()) {
  const auto text = heft::test::task_apart();
  if (!text) return;
  const Task task = read(*text);
  // A signal that this test's own parent ignores (nohup, some runners) is ignored after exec too: state the
  // disposition.
  if (task.signal != 0) std::signal(task.signal, task.ignores_signal ? SIG_IGN : SIG_DFL);
  const ::rlimit limit{.rlim_cur = task.file_size_limit, .rlim_max = RLIM_INFINITY};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(99);
  const WriteFaultPlan plan(fault_of(task));
  const auto run = heft_command(task.words);
  const std::string limited = "RLIMIT_FSIZE is " + std::to_string(task.file_size_limit);
  if (task.file_size_limit != RLIM_INFINITY && run.err.find(limited) == std::string::npos) ::_exit(98);
  ::_exit(run.status);
}

TEST_CASE("signals: Ctrl-C, SIGTERM and SIGHUP end a conversion with 128 + the signal, and nothing is left of it") {
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    for (const bool no_unnamed : {false, true})
      for (const std::uint64_t write : {0, 1, 3}) {
        CAPTURE(signal);
        CAPTURE(write);
        const TempFolder folder;
        const Ended end = converted(source, folder.path() / "model.safetensors",
                                    {.signal = signal, .call = write, .no_unnamed = no_unnamed});
        CHECK(end.signal == 0);
        CHECK(end.status == 128 + signal);
        CHECK(fs::is_empty(folder.path()));
      }
}

TEST_CASE("signals: a signal that the process was started to ignore does not end it") {
  const TempFolder sources;
  const std::string source = large_model(sources);
  const TempFolder folder;
  const Ended end =
      converted(source, folder.path() / "model.safetensors", {.signal = SIGHUP, .call = 1, .ignores_signal = true});
  CHECK(end.status == 0);
  CHECK(heft_command({"hash", (folder.path() / "model.safetensors.index.json").string()}).out ==
        heft_command({"hash", source}).out);
}

TEST_CASE("signals: a killed conversion leaves no scratch file, or one that the next of the same name removes") {
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const bool no_unnamed : {false, true}) {
    const TempFolder folder;
    const Ended end = converted(source, folder.path() / "model.safetensors",
                                {.signal = SIGKILL, .call = 1, .no_unnamed = no_unnamed});
    CHECK(end.signal == SIGKILL);
    CHECK(fs::is_empty(folder.path()) != no_unnamed);
    REQUIRE(heft_command({"convert", source, (folder.path() / "model.safetensors").string()}).status == 0);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("signals: killed at any call that writes, a conversion leaves the old file whole or the new one") {
  const TempFolder sources;
  heft::test::SafetensorsBuilder older, newer;
  const std::string old_model =
      sources.write("old.safetensors", older.add("a", "I8", {1000}, heft::test::pattern(1000, 7)).build());
  const std::string new_model =
      sources.write("new.safetensors", newer.add("a", "I8", {100'000}, heft::test::pattern(100'000, 3)).build());
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
      end = ended({.call = call, .kills = true, .words = {"convert", new_model, path}});
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
  const TempFolder sources;
  const std::string source = large_model(sources);
  for (const bool no_unnamed : {false, true}) {
    const TempFolder folder;
    const Ended end = ended({.no_unnamed = no_unnamed,
                             .file_size_limit = 1 << 20,
                             .words = {"convert", source, (folder.path() / "model.safetensors").string()}});
    CHECK(end.signal == 0);
    CHECK(end.status == 2);
    CHECK(fs::is_empty(folder.path()));
  }
}
