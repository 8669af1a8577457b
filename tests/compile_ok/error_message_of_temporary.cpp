// Texts of an Error that dies at the semicolon are copies.
#include <heft/error.hpp>

#include <type_traits>

const std::string& kept(const heft::Error& error) { return error.message(); }

std::string with_path(const heft::Error& error) {
  static_assert(std::is_same_v<decltype(error.with_path("p").path()), std::string>);
  static_assert(std::is_same_v<decltype(error.with_path("p").place()), heft::ErrorPlace>);
  const std::string& extended = error.with_path("p").message();
  return extended + error.with_tensor("t").tensor();
}
