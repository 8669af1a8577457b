// The name of a view that dies at the semicolon is a text of its own.
#include <heft/checkpoint.hpp>

#include <type_traits>

std::string first_name(const char* path) {
  static_assert(std::is_same_v<decltype(heft::open(path).tensors()[0].name()), std::string>);
  static_assert(std::is_same_v<decltype(heft::open(path).tensors()[0].dtype_name()), std::string>);
  static_assert(std::is_same_v<decltype(heft::open(path).tensors()[0].shard_path()), std::string>);
  return heft::open(path).tensors()[0].name();
}
