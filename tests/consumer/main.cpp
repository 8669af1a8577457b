// A program outside heft's tree, as a user would write it: it knows the installed headers and the pkg-config file only.
// It writes a checkpoint of one tensor by hand, opens it, reads the tensor, and meets an Error.
#include <heft/heft.hpp>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace {

void write_checkpoint(const std::string& path) {
  std::string header = R"({"layer.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";
  while (header.size() % 8 != 0) header += ' ';
  const std::uint64_t length = header.size();
  const float values[] = {1, 2, 3, 4};
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << header;
  file.write(reinterpret_cast<const char*>(values), sizeof values);
}

bool reads_it(const std::string& path) {
  const heft::Slice<float> weight = heft::open(path).root()["layer"]["weight"].tensor().as<float>();
  return weight.size() == 4 && weight[3] == 4.0F;
}

// An exception crosses the library's border as the type it is.
bool catches_the_error(const std::string& path) {
  try {
    (void)heft::open(path).tensor("layer.bias");
  } catch (const heft::Error& error) {
    return error.code() == heft::ErrorCode::not_found;
  }
  return false;
}

}  // namespace

int main() {
  if (heft::version() != HEFT_VERSION) return std::puts("the library is of another version than its headers"), 1;
  const std::string path = "one.safetensors";
  write_checkpoint(path);
  if (!reads_it(path)) return std::puts("the tensor read is not the one written"), 1;
  if (!catches_the_error(path)) return std::puts("a missing tensor is not an Error"), 1;
  return 0;
}
