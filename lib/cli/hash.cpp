#include <map>
#include <ostream>
#include <set>

#include "cli/commands.hpp"
#include "cli/select.hpp"
#include "cli/sha256.hpp"
#include "core/text.hpp"
#include "heft/stream.hpp"

namespace heft::cli {
namespace {

std::vector<TensorView> wanted(const Checkpoint& checkpoint, const std::vector<std::string>& names) {
  std::vector<TensorView> views;
  if (names.empty())
    for (const TensorView& view : checkpoint.tensors()) views.push_back(view);
  for (const std::string& name : std::set<std::string>(names.begin(), names.end())) views.push_back(checkpoint.tensor(name));
  return views;
}

}  // namespace

int run(const HashCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open(command.path, command.open);
  watch_interrupts();
  LoadPlan plan;
  for (const TensorView& view : wanted(checkpoint, command.names)) {
    if (view.has_data()) plan.add(view);
    else terminal.err << "heft: tensor '" << core::escaped(view.name()) << "' has a shape but no bytes: not hashed\n";
  }
  std::map<std::string, std::string> digests;
  {
    ProgressBar bar(terminal, "hashing");
    std::uint64_t done = 0;
    for (const Tensor& tensor : stream(plan, {.path = path_from(command.io)})) {
      digests[tensor.name()] = sha256(tensor.bytes());
      bar.show(done += tensor.size_bytes(), plan.bytes_written());
    }
  }
  for (const auto& [name, digest] : digests) terminal.out << digest << "  " << core::escaped(name, SIZE_MAX) << '\n';
  return yes;
}

}  // namespace heft::cli
