// cli/commands.hpp: the commands and their options as values, and a function for each command. Every function returns
// an ExitStatus or throws Error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/terminal.hpp"
#include "heft/checkpoint.hpp"

namespace heft::cli {

/// Patterns of names of tensors.
struct Selection {
  std::vector<std::string> select;   ///< Empty: all.
  std::vector<std::string> exclude;  ///< Selected tensors to leave out.
};

struct ListCommand {
  std::string path;
  Selection select;
  bool json = false;
  bool notes = false;  ///< With `json`: a last line {"notes":[...]}.
  OpenOptions open = {};
};
/// Bounds of the output of a tree. Shared subtrees of pickles can expand to any size, and Limits::record_depth can be
/// raised: at these bounds the tree is closed, with a note.
struct TreeBounds {
  std::uint64_t nodes = 4'000'000;
  std::uint64_t bytes = 256'000'000;  ///< The node that exceeds them is still written.
  std::size_t levels = 2000;
};
struct TreeCommand {
  std::string path;
  std::optional<std::size_t> depth;
  bool metadata = false;  ///< Show the metadata instead of the tensors.
  bool json = false;
  bool notes = false;  ///< As of ls.
  TreeBounds bounds = {};
  OpenOptions open = {};
};
struct ShowCommand {
  std::string path;
  std::string name;
  std::string slice;                  ///< "0:2,:"; empty: all.
  std::optional<std::uint64_t> head;  ///< Number of values to print; default: 64 as text, all as JSON.
  bool json = false;
  OpenOptions open = {};
};
struct HashCommand {
  std::string path;
  std::vector<std::string> names;
  std::string io = "automatic";  ///< An IoMethod by name.
  OpenOptions open = {};
};
struct DiffCommand {
  std::string a;
  std::string b;
  OpenOptions open = {};
};
struct VerifyCommand {
  std::string path;
  bool allow_non_finite = false;  ///< NaN and infinity are counted but are not damage.
  std::string io = "automatic";   ///< An IoMethod by name.
  bool json = false;
  OpenOptions open = {};
};
struct LoadCommand {
  std::string path;
  std::string dtype;
  Selection select;
  std::string shard;               ///< "3/8"
  std::optional<std::size_t> dim;  ///< The dim that `shard` cuts; default: 0.
  unsigned threads = 0;
  std::string io = "automatic";  ///< An IoMethod by name.
  bool drop_cache = false;
  bool json = false;
  OpenOptions open = {};
};
struct ConvertCommand {
  std::string source;
  std::string destination;
  std::string dtype;
  Selection select;                ///< Matches the new names.
  std::vector<std::string> remap;  ///< "PATTERN=>REPLACEMENT", applied in order.
  std::string shard_size;          ///< "5GB"; empty: one file.
  std::string io = "automatic";    ///< An IoMethod by name.
  bool json = false;
  OpenOptions open = {};
};
struct FormatsCommand {
  bool json = false;
};
/// `--help` or `--version`: text for the output stream.
struct TextCommand {
  std::string text;
};

using Command = std::variant<TextCommand, ListCommand, TreeCommand, ShowCommand, HashCommand, DiffCommand,
                             VerifyCommand, LoadCommand, ConvertCommand, FormatsCommand>;

int run(const TextCommand& command, Terminal& terminal);
int run(const ListCommand& command, Terminal& terminal);
int run(const TreeCommand& command, Terminal& terminal);
int run(const ShowCommand& command, Terminal& terminal);
int run(const HashCommand& command, Terminal& terminal);
int run(const DiffCommand& command, Terminal& terminal);
int run(const VerifyCommand& command, Terminal& terminal);
int run(const LoadCommand& command, Terminal& terminal);
int run(const ConvertCommand& command, Terminal& terminal);
int run(const FormatsCommand& command, Terminal& terminal);

/// Parses the arguments and runs the command. Writes an error as one line to the error stream, `heft: ` + the Error's
/// text, and returns status 2.
int run(int argc, const char* const* argv, Terminal& terminal);

}  // namespace heft::cli
