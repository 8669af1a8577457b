// cli/sha256.hpp: SHA-256. The only user of OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace heft::cli {

/// Returns the digest in lower-case hexadecimal, 64 characters. Throws Error{unsupported} if libcrypto has no SHA-256
/// (a misconfigured FIPS build).
std::string sha256(std::span<const std::byte> bytes);

/// The same for bytes in parts.
class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  /// Returns the digest. Call once, after the last part.
  [[nodiscard]] std::string digest();

 private:
  std::shared_ptr<void> state_;
};

}  // namespace heft::cli
