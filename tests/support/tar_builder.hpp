// Makes tar archives in memory, valid or not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/zip_builder.hpp"

namespace heft::test {

struct TarMember {
  std::string name;
  std::string content;
  char type = '0';
  std::string prefix = {};
};

inline std::string octal(std::uint64_t value, int digits) {
  std::string text;
  for (; digits > 0; --digits, value /= 8) text.insert(text.begin(), static_cast<char>('0' + value % 8));
  return text;
}

/// Returns the block before a member's content, with its checksum.
inline std::string tar_header(const TarMember& member) {
  std::string block(512, '\0');
  block.replace(0, member.name.size(), member.name);
  block.replace(124, 11, octal(member.content.size(), 11));
  block[156] = member.type;
  block.replace(257, 8, std::string("ustar\0", 6) + "00");
  block.replace(345, member.prefix.size(), member.prefix);
  block.replace(148, 8, 8, ' ');
  std::uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  return block.replace(148, 8, octal(sum, 6) + std::string("\0 ", 2));
}

inline std::string tar_file(const std::vector<TarMember>& members) {
  std::string file;
  for (const TarMember& member : members) {
    file += tar_header(member) + member.content;
    file.resize((file.size() + 511) / 512 * 512);
  }
  return file + std::string(1024, '\0');
}

}  // namespace heft::test
