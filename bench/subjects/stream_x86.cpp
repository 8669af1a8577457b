// stream() with SSE2, which every x86-64 processor has. Stores of 16 bytes are combined into whole cache lines, as
// wider ones are.
#include <emmintrin.h>

#include "subjects/stream.hpp"

namespace bench {

namespace {

using Word = __m128i;

// Each word read is written `times` times.
template <int times>
void widen(const Word* in, Word* out, std::size_t words_in) noexcept {
  for (std::size_t i = 0; i < words_in; ++i)
    for (int k = 0; k < times; ++k) _mm_stream_si128(out + i * times + k, _mm_load_si128(in + i));
}

// Each word written is made of `times` words read.
template <int times>
void narrow(const Word* in, Word* out, std::size_t words_out) noexcept {
  for (std::size_t i = 0; i < words_out; ++i) {
    Word word = _mm_load_si128(in + i * times);
    for (int k = 1; k < times; ++k) word = _mm_xor_si128(word, _mm_load_si128(in + i * times + k));
    _mm_stream_si128(out + i, word);
  }
}

}  // namespace

void stream(std::span<const std::byte> in, std::span<std::byte> out) noexcept {
  const auto* from = reinterpret_cast<const Word*>(in.data());
  auto* to = reinterpret_cast<Word*>(out.data());
  const std::size_t words_in = in.size() / sizeof(Word), words_out = out.size() / sizeof(Word);
  if (words_out >= 4 * words_in)
    widen<4>(from, to, words_in);
  else if (words_out >= 2 * words_in)
    widen<2>(from, to, words_in);
  else if (words_out >= words_in)
    widen<1>(from, to, words_in);
  else if (2 * words_out >= words_in)
    narrow<2>(from, to, words_out);
  else
    narrow<4>(from, to, words_out);
  _mm_sfence();
}

}  // namespace bench
