#include "format/pickle/pickle.hpp"

#include <doctest/doctest.h>
#include <pthread.h>

#include <functional>
#include <string>

#include "format/formats.hpp"
#include "format/pickle/protocol0.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"
#include "support/pickle_builder.hpp"
#include "support/thrown.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;
using format::Pickle;
using format::PickleKind;

namespace {

Pickle run(std::string_view program, const Limits& limits = {}) {
  const core::MemoryInput input(exact_bytes(program));
  core::Cursor cursor(input);
  return format::read_pickle(cursor, limits, "the pickle");
}

/// The text of the value that a program of one value leaves.
PickleKind kind_of(std::string_view program) {
  const Pickle pickle = run(program);
  return pickle.kind(pickle.root);
}

std::int64_t integer_of(std::string_view program) {
  const Pickle pickle = run(program);
  REQUIRE(pickle.kind(pickle.root) == PickleKind::integer);
  return pickle[pickle.root].integer;
}

std::string text_of(std::string_view program) {
  const Pickle pickle = run(program);
  REQUIRE(pickle.kind(pickle.root) == PickleKind::text);
  return std::string(pickle.text(pickle.root));
}

std::string repeated(std::string_view piece, std::size_t times) {
  std::string out;
  out.reserve(piece.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += piece;
  return out;
}

std::string operator""_s(const char* text, std::size_t size) { return {text, size}; }

}  // namespace

TEST_CASE("pickle: reads integers in every encoding exactly") {
  CHECK(integer_of("K\xff.") == 255);
  CHECK(integer_of("M\xff\xff.") == 65535);
  CHECK(integer_of("J\xff\xff\xff\xff.") == -1);
  CHECK(integer_of("\x8a\x00."_s) == 0);
  CHECK(integer_of("\x8a\x01\xff.") == -1);
  CHECK(integer_of("\x8a\x02\xff\x00."_s) == 255);
  CHECK(integer_of("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."_s) == INT64_MIN);
  CHECK(integer_of("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00."_s) == INT64_MAX);
  CHECK(integer_of("\x8b\x02\x00\x00\x00\x34\x12."_s) == 0x1234);
  CHECK(integer_of("I-12\n.") == -12);
  CHECK(integer_of("L-9223372036854775808L\n.") == INT64_MIN);
  CHECK(kind_of("I01\n.") == PickleKind::boolean);
}

TEST_CASE("pickle: integers over 64 bits keep every bit") {
  const Pickle natural = run("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00."_s);
  CHECK(natural.kind(natural.root) == PickleKind::unsigned_integer);
  CHECK(natural[natural.root].unsigned_integer == UINT64_MAX);
  CHECK(kind_of("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."_s) == PickleKind::big_integer);
  const Pickle negative = run("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff."_s);  // one less than INT64_MIN
  CHECK(negative.kind(negative.root) == PickleKind::big_integer);
  const Pickle decimal = run("L119547037146038801333356L\n.");
  REQUIRE(decimal.kind(decimal.root) == PickleKind::big_integer);
  CHECK(std::string_view(decimal[decimal.root].text, 10) == "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
}

TEST_CASE("pickle: reads texts in every encoding, and others as bytes") {
  CHECK(text_of("X\x03\x00\x00\x00"
                "abc."_s) == "abc");
  CHECK(text_of("\x8c\x03h\xc3\xa9.") == "h\xc3\xa9");
  CHECK(text_of("\x8d\x01\x00\x00\x00\x00\x00\x00\x00z."_s) == "z");
  CHECK(text_of("U\x01z.") == "z");
  CHECK(text_of("T\x01\x00\x00\x00z."_s) == "z");
  CHECK(text_of("S'a\\x41\\n\\101\\''\n.") == "aA\nA'");
  CHECK(text_of("Vh\\u00e9\xe9\n.") == "h\xc3\xa9\xc3\xa9");
  CHECK(kind_of("U\x01\xff.") == PickleKind::bytes);                        // a Python 2 str
  CHECK(kind_of("X\x03\x00\x00\x00\xed\xa0\x80."_s) == PickleKind::bytes);  // a lone surrogate
  CHECK(kind_of("C\x01z.") == PickleKind::bytes);
  CHECK(kind_of("\x96\x01\x00\x00\x00\x00\x00\x00\x00z."_s) == PickleKind::bytes);
}

TEST_CASE("pickle: containers grow after they are shared, and refer to themselves") {
  const Pickle cycle =
      run("]q\x00h\x00"
          "aK\x01"
          "aK\x02"
          "a."_s);
  const auto items = cycle.children(cycle.root);
  REQUIRE(items.size() == 3);
  CHECK(items[0] == cycle.root);
  CHECK(cycle[items[2]].integer == 2);
}

TEST_CASE("pickle: names of Python 2 are those of Python 3") {
  const Pickle pickle = run("c__builtin__\nset\n.");
  CHECK(pickle.global(pickle[pickle.root]).module == "builtins");
  const Pickle copy = run("ccopy_reg\n_reconstructor\n.");
  CHECK(copy.global(copy[copy.root]).module == "copyreg");
}

namespace {

struct Broken {
  const char* what;
  std::string program;
  ErrorCode code;
  const char* words;
};

const std::vector<Broken> broken = {
    {"an empty file", "", ErrorCode::corrupt, "1 bytes"},
    {"no STOP", "N", ErrorCode::corrupt, "1 bytes"},
    {"STOP on an empty stack", ".", ErrorCode::corrupt, "stack is empty"},
    {"two values at STOP", "NN.", ErrorCode::corrupt, "besides the result"},
    {"STOP below a MARK", "(N.", ErrorCode::corrupt, "MARK"},
    {"an unknown opcode", "\xff.", ErrorCode::corrupt, "unknown opcode 0xff"},
    {"a protocol of the future", "\x80\x06N.", ErrorCode::unsupported, "protocol 6"},
    {"a frame that reaches out", "\x95\xff\x00\x00\x00\x00\x00\x00\x00N."_s, ErrorCode::corrupt, "FRAME"},
    {"a text that reaches out",
     "X\xff\xff\xff\x7f"
     "abc.",
     ErrorCode::limit_exceeded, "pickle_bytes"},
    {"a short text that reaches out",
     "X\x09\x00\x00\x00"
     "abc."_s,
     ErrorCode::corrupt, "9 bytes"},
    {"a text of 2^64 - 1 bytes",
     "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
     "abc."_s,
     ErrorCode::limit_exceeded, "pickle_bytes"},
    {"a negative LONG4", "\x8b\xff\xff\xff\xff.", ErrorCode::corrupt, "negative"},
    {"a negative BINSTRING", "T\xff\xff\xff\xff.", ErrorCode::corrupt, "negative"},
    {"text that is not UTF-8", "X\x01\x00\x00\x00\xff."_s, ErrorCode::corrupt, "UTF-8"},
    {"INT of letters", "Iabc\n.", ErrorCode::corrupt, "decimal"},
    {"LONG of nothing", "LL\n.", ErrorCode::corrupt, "decimal"},
    {"FLOAT of letters", "Fabc\n.", ErrorCode::corrupt, "number"},
    {"a STRING without quotes", "Sabc\n.", ErrorCode::corrupt, "quotes"},
    {"a STRING with half an escape", "S'\\x1'\n.", ErrorCode::corrupt, "quotes"},
    {"a UNICODE beyond Unicode", "V\\U00110000\n.", ErrorCode::corrupt, "escape"},
    {"APPEND to a dict", "}Na.", ErrorCode::corrupt, "kind dict"},
    {"APPENDS to a tuple", ")(Ne.", ErrorCode::corrupt, "kind tuple"},
    {"APPENDS below everything", "(Ne.", ErrorCode::corrupt, "stack is empty"},
    {"SETITEM on a list", "]NNs.", ErrorCode::corrupt, "kind list"},
    {"SETITEMS without a value", "}(Nu.", ErrorCode::corrupt, "pairs"},
    {"ADDITEMS on a list", "](N\x90.", ErrorCode::corrupt, "kind list"},
    {"a list as a key", "}]Ns.", ErrorCode::corrupt, "hashable"},
    {"a tuple with a list as a key", "}]\x85Ns.", ErrorCode::corrupt, "hashable"},
    {"DICT with a set as a key", "(\x8fNd.", ErrorCode::corrupt, "hashable"},
    {"FROZENSET of a dict", "(}\x91.", ErrorCode::corrupt, "hashable"},
    {"TUPLE3 of two", "NN\x87.", ErrorCode::corrupt, "stack is empty"},
    {"TUPLE2 across a MARK", "N(N\x86.", ErrorCode::corrupt, "stack is empty"},
    {"POP_MARK without one", "N1.", ErrorCode::corrupt, "MARK"},
    {"POP of nothing", "0N.", ErrorCode::corrupt, "stack is empty"},
    {"a memo entry that is not there", "h\x07.", ErrorCode::corrupt, "memo at 7"},
    {"GET of letters", "gabc\n.", ErrorCode::corrupt, "memo entry"},
    {"PUT on an empty stack", "q\x00."_s, ErrorCode::corrupt, "stack is empty"},
    {"REDUCE with a list of arguments", "cos\nsystem\n]R.", ErrorCode::corrupt, "tuple of arguments"},
    {"REDUCE of a text", "X\x01\x00\x00\x00z)R."_s, ErrorCode::corrupt, "a global"},
    {"STACK_GLOBAL of numbers", "K\x01K\x02\x93.", ErrorCode::corrupt, "a text"},
    {"OBJ without a class", "(o.", ErrorCode::corrupt, "expected a class"},
    {"OBJ of a text", "(X\x01\x00\x00\x00zo."_s, ErrorCode::corrupt, "a class"},
    {"NEWOBJ_EX without keywords", "cos\nsystem\n))\x92.", ErrorCode::corrupt, "keyword"},
    {"BUILD on a list", "]}b.", ErrorCode::corrupt, "an object"},
    {"PERSID", "Pabc\n.", ErrorCode::unsupported, "outside the file"},
    {"EXT1", "\x82\x01.", ErrorCode::unsupported, "outside the file"},
    {"NEXT_BUFFER", "\x97.", ErrorCode::unsupported, "outside the file"},
    {"a GLOBAL without an end", "cos", ErrorCode::corrupt, "line feed"},
};

}  // namespace

TEST_CASE("pickle: every opcode reports a wrong operand with its offset") {
  for (const Broken& row : broken) {
    INFO(std::string(row.what));
    const Error error = thrown_by([&] { return run(row.program); });
    INFO(std::string(error.what()));
    CHECK(name(error.code()) == name(row.code));
    CHECK(error.message().find(row.words) != std::string::npos);
    REQUIRE(error.offset());
    CHECK(*error.offset() <= row.program.size());
  }
}

TEST_CASE("pickle: a huge memo index costs one entry") {
  const Pickle pickle =
      run("]r\xff\xff\xff\xffj\xff\xff\xff\xff"
          "a.");
  CHECK(pickle.children(pickle.root)[0] == pickle.root);
}

TEST_CASE("pickle: errors name the limit that was reached") {
  const auto refused = [](std::string_view program, const std::function<void(Limits&)>& set) {
    Limits limits;
    set(limits);
    return thrown_by([&] { return run(program, limits); }).message();
  };
  CHECK(refused("NNN.", [](Limits& l) { l.pickle_stack = 2; }).find("pickle_stack") != std::string::npos);
  CHECK(refused("(((N.", [](Limits& l) { l.pickle_stack = 2; }).find("pickle_stack") != std::string::npos);
  CHECK(refused("N0N0N.", [](Limits& l) { l.pickle_operations = 4; }).find("pickle_operations") != std::string::npos);
  CHECK(refused("Nq\x01q\x02q\x03.", [](Limits& l) { l.pickle_memo = 2; }).find("pickle_memo") != std::string::npos);
  CHECK(refused("N0N0N.", [](Limits& l) { l.pickle_bytes = 4; }).find("pickle_bytes") != std::string::npos);
  CHECK(refused("B\x10\x00\x00\x00" + std::string(16, 'x') + ".", [](Limits& l) {
          l.pickle_bytes = 8;
        }).find("pickle_bytes") != std::string::npos);
}

namespace {

/// Runs `work` on a thread with a stack of `bytes`; what recurses once a level overflows it and ends the test.
void on_small_stack(std::size_t bytes, std::function<void()> work) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  REQUIRE(pthread_attr_setstacksize(&attributes, bytes) == 0);
  pthread_t thread;
  const auto start = [](void* given) -> void* {
    (*static_cast<std::function<void()>*>(given))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, start, &work) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace

TEST_CASE("pickle: reads and destroys a million levels on a stack of 256 KiB") {
  const std::string tuples = "N" + repeated("\x85", 1'000'000) + ".";
  const std::string lists = repeated("]", 1'000'000) + repeated("a", 999'999) + ".";
  const std::string file = pickle::torch_file("N" + repeated("\x85", 1'000'000));
  const std::string calls = "cos\nsystem\n" + repeated(")R", 500'000) + ".";
  std::size_t values = 0;
  std::string message;
  on_small_stack(256 << 10, [&] {
    values = run(tuples).values.size();
    values += run(lists).values.size() + run(calls).values.size();
    try {
      static_cast<void>(open_bytes(file));
    } catch (const Error& error) {
      message = error.message();
    }
  });
  CHECK(values > 2'500'000);
  CHECK(message.find("record_depth") != std::string::npos);
}

TEST_CASE("pickle: refuses every prefix, and refuses or reads a flipped bit") {
  using namespace heft::test::pickle;
  const std::string program =
      proto(4) +
      dict({text("w"), tensor("0", 4, 0, {2, 2}, {2, 1}), text("n"), list({integer(7), "N", "\x88"}), text("o"),
            object("my.module", "Thing", dict({text("a"), bytes("xyz")}))}) +
      ".";
  CHECK(kind_of(program) == PickleKind::dict);
  for (std::size_t size = 0; size < program.size(); ++size)
    CHECK_THROWS_AS(run(std::string_view(program).substr(0, size)), Error);
  for (std::size_t bit = 0; bit < program.size() * 8; ++bit) {
    std::string flipped = program;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    is_read(format::pickle_format, flipped);
  }
}
