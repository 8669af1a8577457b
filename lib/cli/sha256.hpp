// cli/sha256.hpp: SHA-256. The only user of OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace heft::cli {

/// Lower-case hexadecimal digest, 64 characters. Throws Error{unsupported} when libcrypto has no SHA-256 (a FIPS build gone wrong).
std::string sha256(std::span<const std::byte> bytes);

}  // namespace heft::cli
