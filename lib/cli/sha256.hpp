// cli/sha256.hpp: SHA-256. The only user of OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace heft::cli {

/// Lower-case hexadecimal digest, 64 characters. Throws Error{unsupported} when libcrypto has no SHA-256 (a FIPS build gone wrong).
std::string sha256(std::span<const std::byte> bytes);

/// The same of bytes that come in parts.
class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  /// Once, after the last part.
  [[nodiscard]] std::string digest();

 private:
  std::shared_ptr<void> state_;
};

}  // namespace heft::cli
