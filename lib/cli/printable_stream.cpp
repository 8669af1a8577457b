#include "cli/printable_stream.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/text.hpp"

namespace heft::cli {
namespace {

// Returns true for characters that every terminal shows, and for line feeds.
bool is_plain(char c) noexcept { return (c >= ' ' && c <= '~') || c == '\n'; }

// Returns true for the start of a sequence that more bytes can complete.
bool may_continue(std::string_view text) noexcept {
  const auto lead = static_cast<std::uint8_t>(text[0]);
  // The length that the lead byte declares; 0 for a byte that starts no sequence.
  const std::size_t wanted = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return text.size() < wanted &&
         std::ranges::all_of(text.substr(1), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) == 0x80; });
}

}  // namespace

void PrintableBuffer::put(std::string_view text) {
  // Most writes are ASCII, and go out in one call.
  if (std::ranges::all_of(text, is_plain)) {
    to_.write(text.data(), static_cast<std::streamsize>(text.size()));
    return;
  }
  while (!text.empty()) {
    const core::CodePoint code = core::first_code_point(text);
    // The stream writes in pieces, which can end inside a character: the rest is kept for the next write.
    if (code.length == 0 && may_continue(text)) break;
    const std::string_view one = text.substr(0, std::max<std::size_t>(code.length, 1));
    if (one == "\n")
      to_ << '\n';
    else
      to_ << core::printable(std::string(one));
    text.remove_prefix(one.size());
  }
  pending_ = text;
}

void PrintableBuffer::finish() {
  // No further bytes come, so these are not UTF-8.
  if (!pending_.empty()) to_ << core::printable(std::exchange(pending_, {}));
}

PrintableBuffer::int_type PrintableBuffer::overflow(int_type c) {
  // overflow(eof) asks to flush; there is no buffer of characters to flush.
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char letter = traits_type::to_char_type(c);
  return xsputn(&letter, 1) == 1 ? c : traits_type::eof();
}

std::streamsize PrintableBuffer::xsputn(const char* text, std::streamsize size) {
  const std::string_view more(text, static_cast<std::size_t>(size));
  if (pending_.empty())
    put(more);
  else
    put(std::exchange(pending_, {}).append(more));
  // A failed write of the stream below sets badbit here too, which run() tests at the end.
  return to_ ? size : 0;
}

int PrintableBuffer::sync() {
  finish();
  return to_.flush() ? 0 : -1;
}

}  // namespace heft::cli
