#include "cli/arguments.hpp"

#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/hub_cache.hpp"
#include "cli/select.hpp"
#include "heft/error.hpp"
#include "heft/version.hpp"

namespace heft::cli {
namespace {

// Adds the options of every command that opens a checkpoint.
template <class C>
void add_open_options(CLI::App& command, C& into) {
  // Names of the hub are looked up in the cache by the command only; the library does so only if a caller sets it.
  into.open.hub_cache = hub_cache();
  command.add_flag_callback(
      "--no-mmap", [&into] { into.open.access = Access::read; },
      "Read files instead of mapping them: a file that shrinks is then an error, never a signal");
  command.add_flag_callback(
      "--no-symlinks", [&into] { into.open.follow_symlinks = false; }, "Refuse files that are symlinks");
  command.add_flag("--strict-globals", into.open.torch.strict_globals,
                   "PyTorch files and pickles only: refuse those that name a class heft does not know");
  command
      .add_option("--top-level-key", into.open.torch.top_level_key, "The state dict under this key; PyTorch files only")
      ->type_name("KEY");
  command
      .add_option_function<std::vector<std::string>>(
          "--as",
          [&into](const std::vector<std::string>& names) {
            for (const std::string& name : names) into.open.numpy.raw_items.push_back(dtype_from(name));
          },
          "NumPy: the dtype of raw elements ('<V2', '|V1'), such as bf16 or f8_e4m3; can be repeated")
      ->type_name("T")
      // One value for each --as: by default CLI11 gives all following words to the option, PATH among them.
      ->allow_extra_args(false);
}

// Adds PATH and the options of opening it.
template <class C>
void add_path(CLI::App& command, C& into) {
  // An empty type name, so that the help shows PATH alone, without "TEXT".
  command.add_option("PATH", into.path, "A checkpoint: a file, a folder or an index")->required()->type_name("");
  add_open_options(command, into);
}

// Adds --json.
template <class C>
void add_json(CLI::App& command, C& into) {
  command.add_flag("--json", into.json, "Print JSON");
}

/// Adds --notes to commands whose JSON has a line for each tensor, or the file's names at the top, so that notes cannot
/// be a member.
template <class C>
void add_notes(CLI::App& command, C& into) {
  command.add_flag("--notes", into.notes, "With --json: print a last line {\"notes\":[...]}")->needs("--json");
}

// Adds --io, whose value is parsed when the command runs: it can contradict --no-mmap.
template <class C>
void add_io(CLI::App& command, C& into) {
  command.add_option("--io", into.io, "How bytes are read: automatic, map, direct or read")->type_name("PATH");
}

// Adds --select and --exclude. Patterns are compiled when the command runs.
template <class C>
void add_select(CLI::App& command, C& into) {
  command
      .add_option("--select", into.select.select,
                  "Only tensors whose name matches: a glob such as '*.q_proj.weight', or re:REGEX; can be repeated")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command
      .add_option("--exclude", into.select.exclude,
                  "Leave out tensors whose name matches, as --select; can be repeated")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
}

// Each declare() adds one command with its options, which CLI11 stores in `c` while it parses.
void declare(CLI::App& app, ListCommand& c) {
  CLI::App& command = *app.add_subcommand("ls", "List the tensors: name, dtype, shape, bytes, place");
  add_path(command, c);
  add_select(command, c);
  add_json(command, c);
  add_notes(command, c);
}

void declare(CLI::App& app, TreeCommand& c) {
  CLI::App& command = *app.add_subcommand("tree", "Show the record tree with the size of every subtree");
  add_path(command, c);
  command.add_option("--depth", c.depth, "Show at most N levels")->type_name("N");
  command.add_flag("--metadata", c.metadata,
                   "Show the metadata instead: GGUF's keys and values, safetensors' __metadata__");
  add_json(command, c);
  add_notes(command, c);
}

void declare(CLI::App& app, ShowCommand& c) {
  CLI::App& command =
      *app.add_subcommand("show", "Show values of a tensor, and min, max, mean, NaN and infinity counts");
  add_path(command, c);
  command.add_option("NAME", c.name, "The tensor's full name")->required()->type_name("");
  // Text, which is parsed when the rank of the tensor is known.
  command.add_option("--slice", c.slice, "One range per dim, as in NumPy: \"0:2,:\" or \"3,-4:\"")->type_name("RANGES");
  command.add_option("--head", c.head, "Print the first N values only (default: 64; with --json: all)")->type_name("N");
  add_json(command, c);
}

void declare(CLI::App& app, HashCommand& c) {
  CLI::App& command = *app.add_subcommand("hash", "SHA-256 of every tensor's packed bytes, sorted by name");
  add_path(command, c);
  command.add_option("NAME", c.names, "Only these tensors")->type_name("");
  add_io(command, c);
}

void declare(CLI::App& app, DiffCommand& c) {
  CLI::App& command =
      *app.add_subcommand("diff", "Compare two checkpoints: names, dtypes, shapes, values; status 1 if they differ");
  command.add_option("A", c.a, "A checkpoint")->required()->type_name("");
  command.add_option("B", c.b, "Another checkpoint")->required()->type_name("");
  // For both: two files of one model need the same options.
  add_open_options(command, c);
}

void declare(CLI::App& app, VerifyCommand& c) {
  CLI::App& command = *app.add_subcommand("verify", "Check structure and payload; status 1 on damage");
  add_path(command, c);
  // Masks of negative infinity are values of some models, not damage.
  command.add_flag("--allow-non-finite", c.allow_non_finite, "Count NaN and infinity without reporting them as damage");
  add_io(command, c);
  add_json(command, c);
}

void declare(CLI::App& app, LoadCommand& c) {
  CLI::App& command = *app.add_subcommand("load", "Load into memory and report bytes, seconds, GB/s and peak memory");
  add_path(command, c);
  add_select(command, c);
  command
      .add_option("--dtype", c.dtype,
                  "Convert floats and quantized blocks to this dtype while loading, complex numbers to a complex one")
      ->type_name("T");
  command.add_option("--shard", c.shard, "Only the part of tensor-parallel rank R of W")->type_name("R/W");
  command
      .add_option("--dim", c.dim,
                  "The dim that --shard cuts (default 0); tensors without it are loaded whole, with a note")
      ->type_name("D");
  // 0, the default, lets the library choose.
  command.add_option("--threads", c.threads, "Worker threads (default: one per core)")->type_name("N");
  add_io(command, c);
  command.add_flag("--drop-cache", c.drop_cache, "Evict pages that the load added to the page cache");
  add_json(command, c);
}

void declare(CLI::App& app, ConvertCommand& c) {
  CLI::App& command = *app.add_subcommand(
      "convert", "Convert a checkpoint to safetensors, npz or GGUF, with another dtype, other names or shards");
  command.add_option("SRC", c.source, "A checkpoint: a file, a folder or an index")->required()->type_name("");
  command
      .add_option("DST", c.destination,
                  "The destination, which is replaced if it exists: NAME.safetensors, NAME.npz, NAME.gguf, a folder or "
                  "NAME.safetensors.index.json; can be SRC")
      ->required()
      ->type_name("");
  add_open_options(command, c);
  add_select(command, c);
  command
      .add_option("--dtype", c.dtype,
                  "Convert floats and quantized blocks to this dtype, complex numbers to a complex one")
      ->type_name("T");
  command
      .add_option("--remap", c.remap,
                  "Rename: a regular expression and the replacement of its matches, $1 for its groups; can be repeated")
      ->type_name("'PATTERN=>REPLACEMENT'")
      ->allow_extra_args(false);
  command
      .add_option("--shard-size", c.shard_size,
                  "Maximum bytes of tensors in a file, such as 5GB; more are written as shards with an index "
                  "(safetensors only)")
      ->type_name("SIZE");
  add_io(command, c);
  add_json(command, c);
}

void declare(CLI::App& app, FormatsCommand& c) {
  CLI::App& command = *app.add_subcommand("formats", "List the formats that are read and written");
  add_json(command, c);
}

}  // namespace

Command parse(int argc, const char* const* argv) {
  CLI::App app("heft: inspect, load and convert model weights", "heft");
  // Like --help, it makes parse() throw, with the text as its success.
  app.set_version_flag("--version", "heft " + std::string(version()));
  // Without a command, or with two, CLI11 reports the mistake and suggests --help.
  app.require_subcommand(1);
  app.footer("Exit status: 0 success, 1 differences or damage found, 2 error, 128 + N ended by signal N.");
  // One of each: options hold references to their members, so all exist until parsing is done.
  std::tuple<ListCommand, TreeCommand, ShowCommand, HashCommand, DiffCommand, VerifyCommand, LoadCommand,
             ConvertCommand, FormatsCommand>
      commands;
  std::apply([&app](auto&... command) { (declare(app, command), ...); }, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream complaint;
    // exit() does not end the process. It writes the text of --help or --version and returns 0, or returns the code of
    // a mistake, which is reported in one line below.
    if (app.exit(error, out, complaint) == 0) return TextCommand{out.str()};
    throw Error(ErrorCode::out_of_range, fmt::format("{}; see 'heft --help'", error.what()));
  }
  const std::string chosen = app.get_subcommands().front()->get_name();
  // In the order of the tuple.
  constexpr std::array names = {"ls", "tree", "show", "hash", "diff", "verify", "load", "convert", "formats"};
  Command result;
  std::size_t index = 0;
  // Copies the command whose name was chosen; a fold over the tuple, because its elements have different types.
  std::apply([&](auto&... command) { ((chosen == names[index++] ? void(result = command) : void()), ...); }, commands);
  return result;
}

}  // namespace heft::cli
