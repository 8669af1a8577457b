// The program: arguments in, exit status out.
#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app("heft: see and load model weights", "heft");
  app.set_version_flag("--version", "heft " HEFT_VERSION);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
