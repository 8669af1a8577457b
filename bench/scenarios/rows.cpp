// Rows: the command lines of children.
#include <fmt/format.h>

#include "scenarios/scenarios.hpp"

namespace bench {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> command_for(std::string_view subject, const Job& job) {
  std::vector<std::string> words = {fs::read_symlink("/proc/self/exe").string(), "child", std::string(subject),
                                    "--path", job.path};
  const auto add = [&](std::string option, const auto& value) {
    words.push_back(std::move(option));
    words.push_back(fmt::format("{}", value));
  };
  add("--threads", job.threads);
  add("--bytes-read", job.bytes_read);
  add("--bytes-written", job.bytes_written);
  add("--via", job.via);
  add("--dim", job.dim);
  add("--block", job.block_bytes);
  add("--depth", job.depth);
  if (job.order != Job().order) add("--order", job.order);  // a build before streams had orders has no such option
  if (!job.dtype.empty()) add("--dtype", job.dtype);
  if (job.reused) words.emplace_back("--reused");
  if (job.transposed) words.emplace_back("--transposed");
  if (job.planned) words.emplace_back("--planned");
  return words;
}

struct Peer {
  std::string_view label, script, what;  // `what` is the script's argument
};

bool is_safetensors(const fs::path& path) { return fs::is_directory(path) || path.extension() == ".safetensors"; }

std::vector<Peer> peers_for(const fs::path& path, std::string_view what) {
  const bool load = what == "load";
  if (path.extension() == ".gguf") return {{"gguf", "gguf_peer.py", what}};
  if (path.extension() == ".mpk" || path.extension() == ".gz")
    return {{"msgpack", "msgpack_peer.py", what}, {"NumPy gather and swap", "numpy_gather_peer.py", what}};
  if (!is_safetensors(path) && !load) return {{"torch.load mmap=True", "torch_peer.py", what}};
  if (!is_safetensors(path))
    return {{"torch.load", "torch_peer.py", "load"}, {"torch.load mmap=True", "torch_peer.py", "load-mmap"}};
  if (!load) return {{"safetensors", "safetensors_peer.py", what}};
  return {{"safetensors", "safetensors_peer.py", what},
          {"fastsafetensors", "fastsafetensors_peer.py", what},
          {"runai-model-streamer", "runai_peer.py", what}};
}

}  // namespace

Row heft_row(std::string label, std::string_view subject, const Job& job) {
  return {std::move(label), Party::heft, command_for(subject, job)};
}

void add_heft(Table& table, const Settings& settings, const std::string& label, std::string_view subject,
              const Job& job) {
  table.rows.push_back(heft_row(label, subject, job));
  if (settings.before.empty()) return;
  Row row = heft_row(label + ", before", subject, job);
  row.command[0] = settings.before;
  table.rows.push_back(std::move(row));
}

Row yardstick_row(std::string label, std::string_view subject, const Job& job, bool reference) {
  return {std::move(label), Party::yardstick, command_for(subject, job), reference};
}

std::vector<Row> peer_rows(const Target& target, const Settings& settings, std::string_view what,
                           const std::string& dtype) {
  std::vector<Row> rows;
  if (!settings.peers) return rows;
  for (const Peer& peer : peers_for(target.path, what)) {
    std::vector<std::string> command = {settings.python, fmt::format("{}/{}", HEFT_BENCH_PEERS, peer.script),
                                        std::string(peer.what), target.path.string()};
    if (!dtype.empty()) command.push_back(dtype);
    rows.push_back({std::string(peer.label), Party::peer, std::move(command)});
  }
  return rows;
}

}  // namespace bench
