#include <map>
#include <ostream>

#include "cli/commands.hpp"
#include "cli/sha256.hpp"
#include "core/text.hpp"
#include "heft/materialize.hpp"

namespace heft::cli {
namespace {

std::vector<TensorView> wanted(const Checkpoint& checkpoint, const std::vector<std::string>& names) {
  std::vector<TensorView> views;
  if (names.empty())
    for (const TensorView& view : checkpoint.tensors()) views.push_back(view);
  for (const std::string& name : names) views.push_back(checkpoint.tensor(name));
  return views;
}

}  // namespace

int run(const HashCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open(command.path, command.open);
  watch_interrupts();
  std::vector<TensorView> views;
  std::uint64_t total = 0;
  for (const TensorView& view : wanted(checkpoint, command.names)) {
    if (view.has_data()) total += views.emplace_back(view).size_bytes();
    else terminal.err << "heft: tensor '" << core::escaped(view.name()) << "' has a shape but no bytes: not hashed\n";
  }
  std::map<std::string, std::string> digests;
  {
    ProgressBar bar(terminal, "hashing");
    std::uint64_t done = 0;
    for (const TensorView& view : views) {
      const Tensor tensor = materialize(view);
      digests[tensor.name()] = sha256(tensor.bytes());
      bar.show(done += tensor.size_bytes(), total);
    }
  }
  for (const auto& [name, digest] : digests) terminal.out << digest << "  " << core::escaped(name, SIZE_MAX) << '\n';
  return yes;
}

}  // namespace heft::cli
