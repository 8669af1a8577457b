#include "cli/sha256.hpp"

#include <array>

#include <openssl/evp.h>

#include "cli/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {

namespace {

// Throws Error{unsupported} unless `status` is 1, which OpenSSL's functions return for success.
void require(int status) {
  if (status != 1) throw Error(ErrorCode::unsupported, "libcrypto could not compute SHA-256");
}

// The header has a void pointer, so that only this file includes OpenSSL.
EVP_MD_CTX* context(const std::shared_ptr<void>& state) noexcept { return static_cast<EVP_MD_CTX*>(state.get()); }

}  // namespace

Sha256::Sha256() : state_(EVP_MD_CTX_new(), [](void* state) { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(state)); }) {
  // Fails in a FIPS configuration without a provider of SHA-256.
  require(state_ != nullptr ? EVP_DigestInit_ex(context(state_), EVP_sha256(), nullptr) : 0);
}

void Sha256::add(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(context(state_), bytes.data(), bytes.size()));
}

std::string Sha256::digest() {
  std::array<std::byte, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  require(EVP_DigestFinal_ex(context(state_), reinterpret_cast<unsigned char*>(digest.data()), &length));
  return hexadecimal(std::span(digest).first(length));
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.digest();
}

}  // namespace heft::cli
