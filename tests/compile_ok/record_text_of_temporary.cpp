// A text of metadata outlives the checkpoint that the same expression opens.
#include <heft/checkpoint.hpp>

#include <type_traits>

std::string architecture(const char* path) {
  static_assert(std::is_same_v<decltype(heft::open(path).metadata()["general.architecture"].text()), std::string>);
  static_assert(std::is_same_v<decltype(heft::open(path).root()["model"].detail()), std::string>);
  static_assert(std::is_same_v<decltype(heft::open(path).root()["model"].class_name()), std::string>);
  return heft::open(path).metadata()["general.architecture"].text();
}
