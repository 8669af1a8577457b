#include "maker/gguf_metadata.hpp"

#include <bit>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "maker/output.hpp"

namespace bench {

namespace {

enum class Type : std::uint32_t { u32 = 4, i32 = 5, f32 = 6, text = 8, array = 9 };

constexpr std::uint64_t merge_count = 280'147;  // of Llama 3's tokenizer

class Writer {
 public:
  Writer& text(std::string_view key, std::string_view value) {
    begin(key, Type::text);
    put_string(value);
    return *this;
  }
  Writer& number(std::string_view key, std::uint32_t value) {
    begin(key, Type::u32);
    put_le(out_.bytes, value);
    return *this;
  }
  Writer& real(std::string_view key, float value) {
    begin(key, Type::f32);
    put_le(out_.bytes, std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  /// `make(i)` returns text number i.
  template <class Make>
  Writer& texts(std::string_view key, std::uint64_t count, Make make) {
    begin_array(key, Type::text, count);
    for (std::uint64_t i = 0; i < count; ++i) put_string(make(i));
    return *this;
  }
  Writer& integers(std::string_view key, std::uint64_t count, std::int32_t value) {
    begin_array(key, Type::i32, count);
    for (std::uint64_t i = 0; i < count; ++i) put_le(out_.bytes, value);
    return *this;
  }
  GgufMetadata take() { return std::move(out_); }

 private:
  void begin(std::string_view key, Type type) {
    ++out_.pairs;
    put_string(key);
    put_le(out_.bytes, static_cast<std::uint32_t>(type));
  }
  void begin_array(std::string_view key, Type type, std::uint64_t count) {
    begin(key, Type::array);
    put_le(out_.bytes, static_cast<std::uint32_t>(type));
    put_le(out_.bytes, count);
  }
  void put_string(std::string_view value) {
    put_le<std::uint64_t>(out_.bytes, value.size());
    put_text(out_.bytes, value);
  }

  GgufMetadata out_;
};

// Returns a word of 1 to 8 letters; half of the words start with the sign for a space of byte-level tokenizers. All
// words together have as many bytes as the published tokenizer.
std::string word(std::uint64_t number) {
  std::uint64_t bits = (number + 1) * 0x9e3779b97f4a7c15;
  std::string letters = bits >> 63 != 0 ? "\xC4\xA0" : "";
  for (std::uint64_t i = 0; i < 1 + number % 8; ++i, bits = bits * 6364136223846793005 + 1)
    letters += static_cast<char>('a' + (bits >> 33) % 26);
  return letters;
}

void add_numbers(Writer& writer, const Model& model) {
  writer.text("general.name", model.name)
      .number("general.quantization_version", 2)
      .number("general.file_type", 15)
      .number("llama.block_count", 32)
      .number("llama.context_length", 8192)
      .number("llama.embedding_length", 4096)
      .number("llama.feed_forward_length", 14336)
      .number("llama.attention.head_count", 32)
      .number("llama.attention.head_count_kv", 8)
      .real("llama.rope.freq_base", 500000.0F)
      .real("llama.attention.layer_norm_rms_epsilon", 1e-5F)
      .number("llama.vocab_size", static_cast<std::uint32_t>(model.vocabulary))
      .number("llama.rope.dimension_count", 128);
}

void add_tokenizer(Writer& writer, std::uint64_t tokens) {
  writer.text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "llama-bpe")
      .texts("tokenizer.ggml.tokens", tokens, word)
      .integers("tokenizer.ggml.token_type", tokens, 1)
      .texts("tokenizer.ggml.merges", merge_count,
             [](std::uint64_t i) { return fmt::format("{} {}", word(i), word(i + merge_count)); })
      .number("tokenizer.ggml.bos_token_id", 128000)
      .number("tokenizer.ggml.eos_token_id", 128001);
}

}  // namespace

GgufMetadata gguf_metadata(const Model& model) {
  Writer writer;
  writer.text("general.architecture", "llama");
  if (model.vocabulary == 0) return writer.take();
  add_numbers(writer, model);
  add_tokenizer(writer, model.vocabulary);
  return writer.take();
}

}  // namespace bench
