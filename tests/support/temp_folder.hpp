// A temporary folder of a test, removed when the test ends.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace heft::test {

/// Creates an empty folder in the system's folder for temporary files, and removes it on destruction. Not copyable.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const& noexcept { return path_; }

  /// Writes (or replaces) a file of that name, making its folders, and returns its path. Fails the test when it cannot.
  std::filesystem::path write(std::string_view name, std::span<const std::byte> bytes) const;
  std::filesystem::path write(std::string_view name, std::string_view text) const;
  /// Makes a file of `size` bytes that occupies no disk space.
  std::filesystem::path write_sparse(std::string_view name, std::uintmax_t size) const;

 private:
  std::filesystem::path path_;
};

/// Returns the whole content of a file. Fails the test when it cannot be read.
[[nodiscard]] std::string content_of(const std::filesystem::path& path);

}  // namespace heft::test
