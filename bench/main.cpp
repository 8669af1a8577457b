// heft-bench: the command line. One sub-command per scenario; see bench/README.md.
#include <sched.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "demo.hpp"
#include "maker/cache.hpp"
#include "scenarios/grow.hpp"
#include "scenarios/lists.hpp"
#include "scenarios/scenarios.hpp"
#include "scenarios/small.hpp"

namespace bench {

namespace {

struct Options {
  std::string model = "llama-3.2-1b", format, stored, values = "bits", size, cache = default_cache().string();
  std::vector<std::string> states = {"warm", "cold", "half"}, dtypes = {""}, destinations = {"fresh", "reused"};
  std::vector<std::string> sizes = {"4KiB", "16KiB", "100KiB", "256KiB", "1MiB"};
  unsigned loads = 1000;
  std::string largest = "1.6GB", json;
  Settings settings;
  Job job;
  std::string subject;
};

unsigned available_threads() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1;
}

Recipe recipe_of(const Options& o) {
  Recipe recipe{o.model, {}, o.size.empty() ? 0 : parse_bytes(o.size)};
  if (!o.stored.empty() && !(recipe.kind = kind_from_name(o.stored)))
    throw std::runtime_error(fmt::format("cannot make tensors of '{}'", o.stored));
  if (o.values != "bits" && o.values != "normal")
    throw std::runtime_error(fmt::format("expected values of 'bits' or 'normal', found '{}'", o.values));
  recipe.values = o.values == "normal" ? Values::normal : Values::bits;
  return recipe;
}

Target make_target(const Options& o, const Recipe& recipe) {
  const std::optional<Format> format = o.format.empty() ? std::nullopt : std::optional(format_from_name(o.format));
  const std::filesystem::path path = checkpoint_in(o.cache, recipe, format);
  return {path, path.filename().string()};
}

// Returns the checkpoint at the path `model` if it exists; else the model of that name, which is made if it is not
// cached. Throws for a path that does not exist.
Target target_of(const Options& o) {
  if (std::filesystem::exists(o.model)) return {o.model, std::filesystem::path(o.model).filename().string()};
  if (!is_model_name(o.model) && o.model.find('/') != std::string::npos)
    throw std::runtime_error(fmt::format("{}: no such file", o.model));
  return make_target(o, recipe_of(o));
}

Settings settings_of(const Options& o) {
  Settings s = o.settings;
  s.states.clear();
  for (const std::string& state : o.states) s.states.push_back(cache_state_from_name(state));
  s.dtypes = o.dtypes;
  for (std::string& dtype : s.dtypes)
    if (dtype == "stored") dtype.clear();
  s.destinations.clear();
  for (const std::string& destination : o.destinations) s.destinations.push_back(destination == "reused");
  return s;
}

void write_json(const std::string& path, const std::vector<Table>& tables) {
  if (path.empty()) return;
  JsonWriter out;
  out.open('{').member("machine", machine()).key("tables").open('[');
  for (const Table& table : tables) to_json(table, out);
  out.close(']').close('}');
  if (!(std::ofstream(path) << out.str() << '\n'))
    throw std::runtime_error(fmt::format("write(\"{}\"): {}", path, std::strerror(errno)));
}

// Throws if heft or a yardstick failed. Peers are allowed to fail.
void refuse_failures(const std::vector<Table>& tables) {
  for (const Table& table : tables)
    for (const Row& row : table.rows)
      if (row.party != Party::peer && !row.failure.empty() && !row.absent)
        throw std::runtime_error(fmt::format("{}: {} failed: {}", table.title, row.label, row.failure));
}

void run_tables(const Options& o, std::vector<Table> tables) {
  fmt::print("{}\n", machine());
  for (Table& table : tables) {
    run(table, o.settings.run);
    add_notes(table);
    fmt::print("{}", to_text(table));
    std::fflush(stdout);
  }
  write_json(o.json, tables);
  refuse_failures(tables);
}

void run_scenario(const Options& o, Scenario scenario) { run_tables(o, scenario(target_of(o), settings_of(o))); }

void run_memory(Options o) {
  o.settings.run.keep_timeline = true;
  o.settings.run.interval_seconds = 0.002;
  o.settings.run.rounds = 1;
  run_scenario(o, memory_tables);
}

void run_grow(const Options& o) {
  std::vector<Table> tables;
  for (const Recipe& recipe : growing_recipes(parse_bytes(o.largest)))
    for (Table& table : grow_tables(make_target(o, recipe), settings_of(o))) tables.push_back(std::move(table));
  run_tables(o, std::move(tables));
}

void run_small(const Options& o) {
  std::vector<Table> tables;
  for (const std::string& size : o.sizes) {
    const Target target = make_target(o, small_recipe(parse_bytes(size), o.loads));
    for (Table& table : small_tables(target, settings_of(o), parse_bytes(size), o.loads))
      tables.push_back(std::move(table));
  }
  run_tables(o, std::move(tables));
}

// Compares the same tensors as lists, as lists in gzip, and as bytes, for each dtype of --stored.
void run_lists(Options o) {
  std::vector<Table> tables;
  std::istringstream dtypes(o.stored.empty() ? "f32,f16" : o.stored);
  while (std::getline(dtypes, o.stored, ',')) {
    const Recipe recipe = recipe_of(o);
    o.format = "safetensors";
    const Target bytes = make_target(o, recipe);
    for (const char* format : {"burn-lists", "burn-lists-gzip"}) {
      o.format = format;
      for (Table& table : list_tables({make_target(o, recipe), bytes}, settings_of(o)))
        tables.push_back(std::move(table));
    }
  }
  run_tables(o, std::move(tables));
}

void make_checkpoint(const Options& o) {
  const Target target = make_target(o, recipe_of(o));
  fmt::print("{}\n", target.path.string());
}

void run_demo(const Options& o) {
  if (o.model == "llama-3.2-1b" && !std::filesystem::exists(o.model))
    fmt::print("Checkpoints are kept in {}\n", o.cache);
  show(target_of(o).path, o.settings.threads);
}

void add_target(CLI::App& command, Options& o) {
  command
      .add_option("model", o.model,
                  "A checkpoint on disk, or a model to make: " + fmt::format("{}", fmt::join(model_names(), ", ")) +
                      ", COUNTxBYTES")
      ->capture_default_str();
  command.add_option(
      "--format", o.format,
      "Make it as safetensors, torch, torch-legacy, gguf, burn-lists or burn-lists-gzip; else as published");
  command.add_option("--stored", o.stored,
                     "Store real tensors as f32, f16, bf16, f8_e4m3, f8_e5m2; in gguf also q4_k ...");
  command
      .add_option("--values", o.values,
                  "Fill tensors of f32, f16 and bf16 with random bits, or with normal numbers, as weights are")
      ->capture_default_str();
  command.add_option("--size", o.size, "Scale the model to about this many bytes: 100MB");
  command.add_option("--cache", o.cache, "Folder that keeps the checkpoints made")->capture_default_str();
}

// Adds a list of words separated by commas. The next word is not part of it, because it is the model.
template <class List>
void add_list(CLI::App& command, const char* name, List& list, const char* text) {
  command.add_option(name, list, text)->delimiter(',')->allow_extra_args(false)->capture_default_str();
}

void add_measuring(CLI::App& command, Options& o) {
  command.add_option("--rounds", o.settings.run.rounds, "Rounds; medians are reported")->capture_default_str();
  command.add_option("--threads", o.settings.threads, "Threads of heft and of the yardsticks")->capture_default_str();
  add_list(command, "--state", o.states, "States of the page cache: warm, cold, half");
  command.add_flag("!--no-peers", o.settings.peers, "Leave other loaders out");
  command.add_flag("!--no-forced", o.settings.forced_paths, "Leave out the rows that force a path");
  command.add_option("--python", o.settings.python, "Interpreter that has the peers' packages")->capture_default_str();
  command.add_option("--json", o.json, "Write everything that was measured to this file");
}

CLI::App* add_scenario(CLI::App& app, Options& o, const char* name, const char* text,
                       const std::function<void()>& action) {
  CLI::App* command = app.add_subcommand(name, text);
  add_target(*command, o);
  add_measuring(*command, o);
  command->callback(action);
  return command;
}

void add_scenarios(CLI::App& app, Options& o) {
  add_scenario(app, o, "open", "Time until every tensor is named", [&o] { run_scenario(o, open_tables); });
  add_scenario(app, o, "view", "Time and memory to view every tensor", [&o] { run_scenario(o, view_tables); });
  add_scenario(app, o, "slice", "One tensor parallel rank's part compared with the whole",
               [&o] { run_scenario(o, slice_tables); });
  add_scenario(app, o, "stream", "All tensors one after another, compared with one load",
               [&o] { run_scenario(o, stream_tables); });
  add_scenario(app, o, "consume", "verify, diff and hash compared with the least that each costs", [&o] {
    run_scenario(o, consume_tables);
  })->add_option("--before", o.settings.before, "heft-bench of another build, which is measured too");
  add_scenario(app, o, "memory", "Memory over the time of a load, for plot.py", [&o] { run_memory(o); });
  CLI::App* lists = add_scenario(
      app, o, "lists", "Lists of numbers (Burn's) compared with the same tensors as bytes; for several --stored",
      [&o] { run_lists(o); });
  CLI::App* small =
      add_scenario(app, o, "small", "Loads of one small tensor each, in scattered order", [&o] { run_small(o); });
  add_list(*small, "--sizes", o.sizes, "Bytes of a tensor");
  small->add_option("--loads", o.loads, "Loads of each size")->capture_default_str();
  for (CLI::App* each : {lists, small})
    each->add_option("--before", o.settings.before, "heft-bench of another build, which is measured too");
  add_scenario(app, o, "grow", "Cost over bytes, tensors and threads", [&o] { run_grow(o); })
      ->add_option("--largest", o.largest, "Largest checkpoint to make")
      ->capture_default_str();
  CLI::App* materialize =
      add_scenario(app, o, "materialize", "A whole load", [&o] { run_scenario(o, materialize_tables); });
  add_list(*materialize, "--dtype", o.dtypes, "Convert to these; 'stored': do not convert");
  add_list(*materialize, "--into", o.destinations, "fresh, reused");
  add_list(*materialize, "--cut", o.settings.cuts,
           "whole, transposed, dim0, dim1: the part of each matrix (dims: one rank of 8)");
  materialize->add_flag_callback("--transposed", [&o] { o.settings.cuts = {"transposed"}; }, "As --cut transposed");
}

// Adds the hidden sub-command by which the parent starts its children.
void add_child(CLI::App& app, Options& o, int& status) {
  CLI::App* child = app.add_subcommand("child", "")->group("");
  child->add_option("subject", o.subject)->required();
  child->add_option("--path", o.job.path);
  child->add_option("--threads", o.job.threads);
  child->add_option("--bytes-read", o.job.bytes_read);
  child->add_option("--bytes-written", o.job.bytes_written);
  child->add_option("--via", o.job.via);
  child->add_option("--dim", o.job.dim);
  child->add_option("--block", o.job.block_bytes);
  child->add_option("--order", o.job.order);
  child->add_option("--depth", o.job.depth);
  child->add_option("--dtype", o.job.dtype);
  child->add_flag("--reused", o.job.reused);
  child->add_flag("--transposed", o.job.transposed);
  child->add_flag("--planned", o.job.planned);
  child->callback([&o, &status] { status = run_subject(o.subject, o.job); });
}

int run_command_line(int argc, char** argv) {
  CLI::App app("Measures heft against what the machine can do, and against other loaders", "heft-bench");
  app.require_subcommand(1);
  Options o;
  o.settings.threads = available_threads();
  int status = 0;
  add_scenarios(app, o);
  CLI::App* make = app.add_subcommand("make", "Make a checkpoint and print its path");
  add_target(*make, o);
  make->callback([&o] { make_checkpoint(o); });
  CLI::App* demo = app.add_subcommand("demo", "Inspect, slice and load one checkpoint");
  add_target(*demo, o);
  demo->add_option("--threads", o.settings.threads, "Threads")->capture_default_str();
  demo->callback([&o] { run_demo(o); });
  add_child(app, o, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  return status;
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a child that has ended is reported by its empty answer
  try {
    return bench::run_command_line(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "heft-bench: {}\n", error.what());
    return 2;
  }
}
