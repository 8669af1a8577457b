#include "cli/sha256.hpp"

#include <array>

#include <openssl/evp.h>

#include "cli/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {

std::string sha256(std::span<const std::byte> bytes) {
  std::array<std::byte, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &length, EVP_sha256(), nullptr) != 1)
    throw Error(ErrorCode::unsupported, "libcrypto could not compute SHA-256");
  return hexadecimal(std::span(digest).first(length));
}

}  // namespace heft::cli
