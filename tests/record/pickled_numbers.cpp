// Lists of numbers in pickles, which are stepped over: as records they are what they are when read one by one.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "support/memory_use.hpp"
#include "support/pickle_builder.hpp"
#include "support/tar_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::test::pickle;
using test::little;
using test::TempFolder;
using test::thrown_by;

namespace {

// A number and its opcode.
struct Number {
  bool is_real = false;
  bool is_negative = false;
  std::uint64_t bits = 0;  // two's complement, or of a f64
  std::string spelled;

  [[nodiscard]] double real() const { return std::bit_cast<double>(bits); }
};

std::string big_endian(std::uint64_t bits) {
  std::string bytes = little(bits, 8);
  std::ranges::reverse(bytes);
  return bytes;
}

Number real(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  return {true, false, bits, "G" + big_endian(bits)};
}

// As Python's pickler spells an int of 64 bits with a sign.
Number whole(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  std::string spelled;
  if (value >= 0 && value < 256) {
    spelled = "K" + little(bits, 1);
  } else if (value >= 0 && value < 65536) {
    spelled = "M" + little(bits, 2);
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    spelled = "J" + little(bits & 0xFFFFFFFF, 4);
  } else {
    std::string bytes = little(bits, 8);
    // The shortest two's complement.
    while (bytes.size() > 1) {
      const auto last = static_cast<unsigned char>(bytes.back());
      const bool sign = (static_cast<unsigned char>(bytes[bytes.size() - 2]) & 0x80) != 0;
      if (last != (sign ? 0xFF : 0)) break;
      bytes.pop_back();
    }
    spelled = "\x8a" + std::string(1, static_cast<char>(bytes.size())) + bytes;
  }
  return {false, value < 0, bits, spelled};
}

// An int over INT64_MAX takes nine bytes, the last of which has the sign.
Number wide(std::uint64_t value) { return {false, false, value, "\x8a\x09" + little(value, 8) + '\0'}; }

using Numbers = std::vector<Number>;

Numbers made(std::size_t count, const std::function<Number(std::size_t)>& number) {
  Numbers numbers;
  for (std::size_t i = 0; i < count; ++i) numbers.push_back(number(i));
  return numbers;
}

// The batches of 1000 items in which Python adds them to a list. With `single`, a last batch of one item is an APPEND,
// as the pickler in Python and that for subclasses write it. With `frames`, a frame begins in every batch.
std::string batches(const Numbers& numbers, bool single = false, bool frames = false) {
  std::string out;
  for (std::size_t first = 0; first < numbers.size(); first += 1000) {
    const std::size_t count = std::min<std::size_t>(1000, numbers.size() - first);
    if (single && count == 1) return out + numbers[first].spelled + "a";
    out += "(";
    for (std::size_t i = 0; i < count; ++i) {
      if (frames && i == count / 2) out += "\x95" + little(1, 8);
      out += numbers[first + i].spelled;
    }
    out += "e";
  }
  return out;
}

std::string list_of(const Numbers& numbers, bool single = false, bool frames = false) {
  return "]\x94" + batches(numbers, single, frames);
}

void check_numbers(const Record& list, const Numbers& numbers) {
  REQUIRE(list.kind() == RecordKind::list);
  REQUIRE(list.size() == numbers.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const Record item = list.child(i);
    const Number& number = numbers[i];
    if (number.is_real)
      wrong += item.kind() != RecordKind::real || std::bit_cast<std::uint64_t>(item.real()) != number.bits;
    else if (number.is_negative)
      wrong += item.kind() != RecordKind::integer || static_cast<std::uint64_t>(item.integer()) != number.bits;
    else
      wrong += item.kind() != RecordKind::integer || item.unsigned_integer() != number.bits;
  }
  CHECK(wrong == 0);
}

void check_view(const Record& list, const Numbers& numbers) {
  const bool is_real = numbers[0].is_real;
  const bool is_wide =
      std::ranges::any_of(numbers, [](const Number& one) { return !one.is_negative && one.bits > INT64_MAX; });
  const TensorView view = list.numbers();
  CHECK(view.dtype() == (is_real ? DType::f64 : is_wide ? DType::u64 : DType::i64));
  CHECK(view.shape() == Shape{static_cast<std::int64_t>(numbers.size())});
  CHECK(view.is_spelled());
  CHECK(view.name() == list.path());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < numbers.size(); i += i + 40 < numbers.size() ? 37 : 1) {
    if (is_real)
      wrong += std::bit_cast<std::uint64_t>(view.read<double>(i)) != numbers[i].bits;
    else if (is_wide)
      wrong += view.read<std::uint64_t>(i) != numbers[i].bits;
    else
      wrong += static_cast<std::uint64_t>(view.read<std::int64_t>(i)) != numbers[i].bits;
  }
  CHECK(wrong == 0);
  if (is_real) CHECK(thrown_by([&] { return view.as<double>(); }).code() == ErrorCode::type_mismatch);
}

std::string zipped(const std::string& object, bool deflate) {
  return test::ZipBuilder()
      .add({.name = "archive/data.pkl", .content = proto(4) + object + ".", .deflate = deflate})
      .add("archive/version", "3\n")
      .build();
}

// The ways in which a pickle reaches the reader, by what the elements are read from.
std::vector<std::pair<std::string, std::string>> files_of(const std::string& object) {
  const std::string filler = text(std::string(1'200'000, 'x'));
  return {{"bare.pkl", proto(4) + object + "."},
          {"short.pt", zipped(object, false)},
          {"deflated.pt", zipped(object, true)},
          // Over 1 MiB, and therefore not read whole.
          {"long.pt", zipped(object.substr(0, object.size() - 1) + text("filler") + filler + "u", false)},
          {"stream.pth", torch_stream(object, {}, 4)}};
}

std::string of_one_list(const std::string& list) { return dict({text("list"), list}); }

}  // namespace

TEST_CASE("pickled numbers: lists of every width, sign and length are read as element by element") {
  const TempFolder folder;
  const std::vector<std::function<Number(std::size_t)>> kinds{
      [](std::size_t i) { return real(static_cast<double>(i) / 8 - 3); },
      [](std::size_t i) { return whole(static_cast<std::int64_t>(i % 256)); },
      [](std::size_t i) { return whole(static_cast<std::int64_t>(256 + i)); },
      [](std::size_t i) { return whole(70'000 * (i % 2 == 0 ? 1 : -1) + static_cast<std::int64_t>(i)); },
      [](std::size_t i) { return whole((std::int64_t{1} << (32 + i % 30)) * (i % 3 == 0 ? -1 : 1)); },
      [](std::size_t i) {
        const auto value = static_cast<std::int64_t>(std::uint64_t{0x9E3779B97F4A7C15} * (i + 1) >> (i * 7 % 64));
        return whole(value);
      },
      [](std::size_t i) { return i % 5 == 0 ? wide(UINT64_MAX - i) : whole(static_cast<std::int64_t>(i)); }};
  for (std::size_t kind = 0; kind < kinds.size(); ++kind)
    for (const std::size_t count : {31, 32, 33, 999, 1000, 1001, 2000, 2031, 5001}) {
      CAPTURE(kind);
      CAPTURE(count);
      const Numbers numbers = made(count, kinds[kind]);
      const bool frames = count % 2 == 0;
      for (const auto& [name, bytes] : files_of(of_one_list(list_of(numbers, count == 5001, frames)))) {
        CAPTURE(name);
        for (const Access access : {Access::map, Access::read}) {
          const Checkpoint checkpoint = open(folder.write(name, bytes), {.access = access});
          CHECK(checkpoint.tensors().empty());
          const Record list = checkpoint.root()["list"];
          check_numbers(list, numbers);
          check_view(list, numbers);
          CHECK(list.child(count - 1).path() == "list." + std::to_string(count - 1));
        }
      }
    }
}

TEST_CASE("pickled numbers: extreme values keep their bits") {
  const TempFolder folder;
  Numbers reals = made(40, [](std::size_t i) { return real(static_cast<double>(i)); });
  reals[3] = real(-0.0);
  reals[4] = real(std::numeric_limits<double>::infinity());
  reals[5] = real(std::numeric_limits<double>::denorm_min());
  reals[6] = real(std::bit_cast<double>(std::uint64_t{0x7FF8000000000123}));
  Numbers integers = made(40, [](std::size_t i) { return whole(static_cast<std::int64_t>(i)); });
  integers[7] = whole(INT64_MIN);
  integers[8] = whole(INT64_MAX);
  integers[9] = {false, false, 0, std::string("\x8a\0", 2)};  // no bytes are 0
  for (const Numbers& numbers : {reals, integers}) {
    const Record list = open(folder.write("m.pkl", proto(2) + of_one_list(list_of(numbers)) + ".")).root()["list"];
    check_numbers(list, numbers);
    check_view(list, numbers);
  }
}

TEST_CASE("pickled numbers: integers and reals in one list are f64 where each integer is exact") {
  const TempFolder folder;
  constexpr std::int64_t bound = std::int64_t{1} << 53;
  const auto list_in_file = [&](const Numbers& numbers) {
    return open(folder.write("m.pkl", proto(4) + of_one_list(list_of(numbers)) + ".")).root()["list"];
  };
  // Short lists are values, long ones stay in the file: one rule for both.
  for (const std::size_t count : {3, 31, 32, 1500, 5001}) {
    CAPTURE(count);
    for (const bool starts_with_real : {false, true}) {
      Numbers numbers = made(count, [&](std::size_t i) {
        return i % 3 == 0 ? real(0.5) : whole(static_cast<std::int64_t>(i) * 70'000 * (i % 2 == 0 ? 1 : -1));
      });
      if (!starts_with_real) numbers[0] = whole(-7);
      numbers[1] = whole(bound);
      numbers[2] = whole(-bound);
      numbers.push_back(real(-0.0));
      const Record list = list_in_file(numbers);
      check_numbers(list, numbers);
      const TensorView view = list.numbers();
      CHECK(view.dtype() == DType::f64);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < numbers.size(); i += i < 40 ? 1 : 37) {
        const double expected =
            numbers[i].is_real ? numbers[i].real() : static_cast<double>(static_cast<std::int64_t>(numbers[i].bits));
        wrong += std::bit_cast<std::uint64_t>(view.read<double>(i)) != std::bit_cast<std::uint64_t>(expected);
      }
      CHECK(wrong == 0);
      for (const Number& beyond : {whole(bound + 1), whole(-bound - 1), whole(INT64_MIN), whole(INT64_MAX),
                                   wide(std::uint64_t{1} << 63), wide(UINT64_MAX)}) {
        Numbers large = numbers;
        large[count - 1] = beyond;
        const Record refused = list_in_file(large);
        check_numbers(refused, large);
        const Error inexact = thrown_by([&] { return refused.numbers(); });
        CHECK(inexact.code() == ErrorCode::type_mismatch);
        CHECK(inexact.message() == "expected integers up to 2^53 beside reals, so that each is exact as f64, item " +
                                       std::to_string(count - 1) + " is beyond");
        CHECK(inexact.tensor() == "list");
      }
    }
  }
  Numbers both = made(1500, [](std::size_t i) { return whole(static_cast<std::int64_t>(i)); });
  both[1200] = wide(UINT64_MAX);
  both[3] = whole(-1);
  const Record impossible = list_in_file(both);
  check_numbers(impossible, both);
  CHECK(thrown_by([&] { return impossible.numbers(); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("pickled numbers: a list is the same wherever it occurs, and however it grew") {
  const TempFolder folder;
  const auto some = [](std::size_t first, std::size_t count) {
    return made(count, [first](std::size_t i) { return real(static_cast<double>(first + i)); });
  };
  const auto root_of = [&](const std::string& object) {
    return open(folder.write("m.pkl", proto(2) + object + ".")).root();
  };
  const std::string once = "]q\1" + batches(some(0, 1500));
  SUBCASE("two mentions are one list") {
    const Record root = root_of(dict({text("a"), once, text("b"), "h\1", text("c"), "h\1h\1\x86"}));
    for (const Record& list : {root["a"], root["b"], root["c"][0], root["c"][1]}) {
      check_numbers(list, some(0, 1500));
      check_view(root["a"], some(0, 1500));
    }
    CHECK(root["c"].detail() == "tuple");
  }
  SUBCASE("a list that grows again later") {
    const Record root = root_of(dict({text("a"), once, text("b"), "h\1" + batches(some(1500, 1100))}));
    check_numbers(root["a"], some(0, 2600));
    check_view(root["b"], some(0, 2600));
  }
  SUBCASE("a list that grows after a short batch") {
    const Record root = root_of(dict({text("a"), once + batches(some(1500, 3)) + batches(some(1503, 600))}));
    check_numbers(root["a"], some(0, 2103));
    check_view(root["a"], some(0, 2103));
  }
  SUBCASE("a list with something else at its end") {
    const Record root = root_of(dict({text("a"), once + "(" + text("end") + "e" + batches(some(0, 50))}));
    CHECK(root["a"].size() == 1551);
    CHECK(root["a"][1499].real() == 1499);
    CHECK(root["a"][1500].text() == "end");
    CHECK(root["a"][1550].real() == 49);
    CHECK(thrown_by([&] { return root["a"].numbers(); }).code() == ErrorCode::type_mismatch);
  }
  SUBCASE("a batch with a boolean, a memo or a long integer is read as usual") {
    for (const auto& [odd, text_of] : {std::pair<std::string, std::string>{"\x88", "boolean"},
                                       {"K\1q\7", "integer"},
                                       {"\x8a\x0a" + std::string(9, '\1') + '\1', "integer"}}) {
      CAPTURE(text_of);
      std::string batch = "](";
      for (const Number& number : some(0, 100)) batch += number.spelled;
      const Record root = root_of(dict({text("a"), batch + odd + "e"}));
      CHECK(root["a"].size() == 101);
      CHECK(root["a"][99].real() == 99);
      CHECK(name(root["a"][100].kind()) == text_of);
    }
  }
  SUBCASE("an item from the memo or the stack") {
    const Record memo = root_of(dict({text("n"), "K\5q\2", text("a"), once + "h\2a"}));
    CHECK(memo["a"].size() == 1501);
    CHECK(memo["a"][1500].integer() == 5);
    // POP leaves the number below it.
    const Record stack = root_of(dict({text("a"), once + "K\7K\1" + "0a"}));
    CHECK(stack["a"][1500].integer() == 7);
    CHECK(stack["a"][1499].real() == 1499);
  }
  SUBCASE("nested lists") {
    std::string nested = "](";
    for (int i = 0; i < 50; ++i) nested += "]" + batches(some(static_cast<std::size_t>(i), 400));
    const Record root = root_of(dict({text("a"), nested + "e"}));
    CHECK(root["a"].size() == 50);
    for (const std::size_t i : {std::size_t{0}, std::size_t{17}, std::size_t{49}}) {
      check_numbers(root["a"][i], some(i, 400));
      check_view(root["a"][i], some(i, 400));
    }
  }
  SUBCASE("an object of a subclass of list") {
    const Record root = root_of(dict({text("a"), global("mine", "List") + ")\x81" + batches(some(0, 1001), true)}));
    CHECK(root["a"].kind() == RecordKind::opaque);
    CHECK(root["a"].class_name() == "mine.List");
    check_numbers(root["a"]["state"], some(0, 1001));
    check_view(root["a"]["state"], some(0, 1001));
  }
  SUBCASE("containers made of a list by a call") {
    for (const auto& [type, detail] :
         {std::pair{"set", "set"}, {"list", ""}, {"tuple", "tuple"}, {"frozenset", "frozenset"}}) {
      CAPTURE(type);
      const Record root = root_of(dict({text("a"), call("builtins", type, {once})}));
      CHECK(root["a"].detail() == detail);
      check_numbers(root["a"], some(0, 1500));
      check_view(root["a"], some(0, 1500));
    }
    CHECK(thrown_by([&] { return root_of(dict({text("a"), call("collections", "OrderedDict", {once})})); }).code() ==
          ErrorCode::corrupt);
    CHECK(thrown_by([&] { return root_of(dict({once, text("a")})); }).code() == ErrorCode::corrupt);
  }
  SUBCASE("a list with something else at its end, as the whole, has a name for each item") {
    const Record root = root_of(once + text("end") + "a");
    CHECK(root.size() == 1501);
    CHECK(root["7"].real() == 7);
    CHECK(root["1500"].text() == "end");
  }
}

namespace {

// The containers of numbers that a pickle can spell without a call, by their names in Python; "" is a list. Sets grow by
// batches, as lists; a tuple and a frozen set have all their items behind one MARK.
const std::vector<std::string> containers{"", "tuple", "set", "frozenset"};

std::string container_of(const std::string& type, const Numbers& numbers, bool frames = false) {
  if (type.empty()) return list_of(numbers, false, frames);
  if (type == "set") {
    std::string batch = batches(numbers, false, frames);
    std::string out = "\x8f\x94";
    // No 'e' is a byte of a number here but the APPENDS of its batch.
    std::ranges::replace(batch, 'e', '\x90');
    return out + batch;
  }
  std::string out = "(";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (frames && i % 500 == 250) out += "\x95" + little(1, 8);
    out += numbers[i].spelled;
  }
  return out + (type == "tuple" ? "t" : "\x91");
}

// Numbers without a byte 'e', of two kinds.
std::vector<Numbers> some_of(std::size_t count) {
  return {made(count, [](std::size_t i) { return real(static_cast<double>(i % 100)); }),
          made(count, [](std::size_t i) { return whole(static_cast<std::int64_t>(i % 90) - 30); })};
}

}  // namespace

TEST_CASE("pickled numbers: tuples and sets of numbers are read from the file, as lists are") {
  const TempFolder folder;
  for (const std::string& type : containers)
    for (const std::size_t count : {4, 31, 32, 1000, 1001, 5001})
      for (const Numbers& numbers : some_of(count)) {
        CAPTURE(type);
        CAPTURE(count);
        REQUIRE(std::ranges::none_of(numbers,
                                     [](const Number& one) { return one.spelled.find('e') != std::string::npos; }));
        const std::string object =
            dict({text("list"), container_of(type, numbers, count % 2 == 0), text("after"), "K\7"});
        for (const auto& [name, bytes] : files_of(object)) {
          CAPTURE(name);
          const Record root = open(folder.write(name, bytes)).root();
          check_numbers(root["list"], numbers);
          check_view(root["list"], numbers);
          CHECK(root["list"].detail() == type);
          CHECK(root["after"].integer() == 7);
        }
      }
}

TEST_CASE("pickled numbers: a whole of numbers is one value, of any length") {
  const TempFolder folder;
  for (const std::string& type : containers)
    for (const std::size_t count : {1, 31, 32, 5001})
      for (const Numbers& numbers : some_of(count)) {
        CAPTURE(type);
        CAPTURE(count);
        const auto path = folder.write("m.pkl", proto(4) + container_of(type, numbers) + ".");
        const Record root = open(path).root();
        CHECK(root.size() == 1);
        check_numbers(root["value"], numbers);
        check_view(root["value"], numbers);
        CHECK(root["value"].detail() == type);
      }
  const Record flags = open(folder.write("m.pkl", proto(4) + "](\x88\x89\x88" + "e.")).root()["value"];
  CHECK(flags.numbers().read<heft::boolean>(2).bits == 1);
  CHECK(open(folder.write("m.pkl", proto(4) + "].")).root().empty());
}

TEST_CASE("pickled numbers: items of tuples and sets that are needed one by one") {
  const TempFolder folder;
  const auto root_of = [&](const std::string& object) {
    return open(folder.write("m.pkl", proto(4) + object + ".")).root();
  };
  const auto counted = [](std::size_t first) {
    return made(40, [first](std::size_t i) { return whole(static_cast<std::int64_t>(first + i)); });
  };
  SUBCASE("keys of a dict") {
    const Record root = root_of(dict({container_of("tuple", counted(0)), text("a"), container_of("tuple", counted(7)),
                                      text("b"), "(" + container_of("tuple", counted(9)) + "K\1t", text("c")}));
    CHECK(root["(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...)"].text() == "a");
    CHECK(root["(7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, ...)"].text() == "b");
    CHECK(root["((9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, ...), 1)"].text() == "c");
    CHECK(root_of(dict({container_of("frozenset", counted(0)), text("a")}))["<frozenset>"].text() == "a");
    for (const std::string type : {"", "set"})
      CHECK(thrown_by([&] { return root_of(dict({container_of(type, counted(0)), text("a")})); }).code() ==
            ErrorCode::corrupt);
  }
  SUBCASE("arguments of calls") {
    for (const std::string call : {"R", "\x81", "}\x92"}) {
      const Record made =
          root_of(dict({text("a"), global("mine", "Thing") + container_of("tuple", counted(5)) + call}))["a"];
      CHECK(made.class_name() == "mine.Thing");
      CHECK(made["arguments"].size() == 40);
      CHECK(made["arguments"][39].integer() == 44);
    }
    for (const std::string type : {"", "set", "frozenset"})
      CHECK(thrown_by([&] { return root_of(global("mine", "f") + container_of(type, counted(5)) + "R"); }).code() ==
            ErrorCode::corrupt);
    CHECK(thrown_by([&] { return root_of(container_of("tuple", counted(5)) + "Q"); }).code() == ErrorCode::corrupt);
  }
  SUBCASE("a set that grows by something else, and by a list's opcode") {
    const std::string set = container_of("set", counted(0));
    const Record grown = root_of(dict({text("a"), set + "(" + text("end") + "\x90"}))["a"];
    CHECK(grown.size() == 41);
    CHECK(grown.detail() == "set");
    CHECK(grown[39].integer() == 39);
    CHECK(grown[40].text() == "end");
    for (const std::string wrong : {"(K\1K\2e", "K\1a"})
      CHECK(thrown_by([&] { return root_of(dict({text("a"), set + wrong})); }).code() == ErrorCode::corrupt);
    CHECK(thrown_by([&] { return root_of(dict({text("a"), container_of("", counted(0)) + "(K\1\x90"})); }).code() ==
          ErrorCode::corrupt);
  }
  SUBCASE("numbers that a dict, or a call, ends") {
    std::string pairs = "}(";
    for (int i = 0; i < 40; ++i) pairs += "K" + little(static_cast<std::uint64_t>(i), 1) + "K\1";
    const Record dict_of_numbers = root_of(pairs + "u");
    CHECK(dict_of_numbers.size() == 40);
    CHECK(dict_of_numbers["39"].integer() == 1);
  }
  SUBCASE("tuples in tuples") {
    const Record pair = root_of(
        dict({text("a"), "(" + container_of("tuple", counted(0)) + container_of("tuple", counted(1)) + "t"}))["a"];
    CHECK(pair.size() == 2);
    check_numbers(pair[0], counted(0));
    check_numbers(pair[1], counted(1));
  }
  SUBCASE("sets made of a tuple, and back") {
    const Record root = root_of(dict({text("a"), call("builtins", "frozenset", {container_of("tuple", counted(3))}),
                                      text("b"), call("builtins", "list", {container_of("set", counted(4))})}));
    check_numbers(root["a"], counted(3));
    CHECK(root["a"].detail() == "frozenset");
    check_numbers(root["b"], counted(4));
    CHECK(root["b"].detail().empty());
  }
}

TEST_CASE("pickled numbers: an object with tensors and numbers names each of them") {
  const TempFolder folder;
  const std::string ints = batches(made(40, [](std::size_t i) { return whole(static_cast<std::int64_t>(i) * 300); }));
  const std::string object =
      global("mine", "List") + ")\x81" + ints + dict({text("w"), tensor("0", 1, 0, {1}, {1})}) + "b";
  const Checkpoint checkpoint =
      open(folder.write("m.pt", torch_file(dict({text("a"), object}), {std::string(4, '\1')})));
  REQUIRE(checkpoint.tensors().size() == 1);
  CHECK(checkpoint.tensors()[0].name() == "a.state.w");
  CHECK(checkpoint.root()["a"]["39"].integer() == 39 * 300);
}

TEST_CASE("pickled numbers: a shape can be a list of them") {
  const TempFolder folder;
  const std::string ones = "]" + batches(made(40, [](std::size_t) { return whole(1); }));
  const auto rebuilt = [&](const std::string& sizes, const std::string& strides) {
    OpenOptions options;
    options.limits.rank = 64;
    const std::string object = call(
        "torch._utils", "_rebuild_tensor_v2",
        {storage("FloatStorage", "0", 1), integer(0), sizes, strides, "\x89", call("collections", "OrderedDict", {})});
    return open(folder.write("m.pt", torch_file(dict({text("w"), object}), {std::string(4, '\1')})), options);
  };
  CHECK(rebuilt(ones, ones).tensor("w").shape().rank() == 40);
  CHECK(rebuilt(call("torch", "Size", {ones}), ones).tensor("w").shape().rank() == 40);
  const std::string tuple_of_ones = container_of("tuple", made(40, [](std::size_t) { return whole(1); }));
  CHECK(rebuilt(tuple_of_ones, call("builtins", "tuple", {ones})).tensor("w").shape().rank() == 40);
  CHECK(thrown_by([&] {
          return rebuilt(container_of("set", made(40, [](std::size_t) { return whole(1); })), ones);
        }).code() == ErrorCode::corrupt);
  const std::string halves = "]" + batches(made(40, [](std::size_t) { return real(0.5); }));
  CHECK(thrown_by([&] { return rebuilt(halves, ones); }).code() == ErrorCode::corrupt);
  CHECK(thrown_by([&] { return rebuilt(call("torch", "Size", {halves}), ones); }).code() == ErrorCode::corrupt);
}

TEST_CASE("pickled numbers: every cut is refused, and so is a frame that lies") {
  const std::string whole_file =
      proto(4) +
      of_one_list(
          list_of(made(1040, [](std::size_t i) { return whole(static_cast<std::int64_t>(i) * 700); }), false, true)) +
      ".";
  CHECK(open(Bytes::copy_of(std::as_bytes(std::span(whole_file)))).root()["list"].size() == 1040);
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < whole_file.size(); ++size) {
    const std::string cut = whole_file.substr(0, size);
    try {
      static_cast<void>(open(Bytes::copy_of(std::as_bytes(std::span(cut)))));
      ++accepted;
    } catch (const Error&) {
    }
  }
  CHECK(accepted == 0);
  std::string lie = whole_file;
  lie.replace(lie.find("\x95" + little(1, 8)), 9, "\x95" + little(whole_file.size(), 8));
  CHECK(thrown_by([&] { return open(Bytes::copy_of(std::as_bytes(std::span(lie)))); }).code() == ErrorCode::corrupt);
}

TEST_CASE("pickled numbers: the limits of pickles count no number that is stepped over") {
  const TempFolder folder;
  const Numbers numbers = made(20'000, [](std::size_t i) { return real(static_cast<double>(i)); });
  OpenOptions options;
  options.limits.pickle_operations = 1000;
  options.limits.pickle_bytes = 8192;
  options.limits.pickle_stack = 100;
  const auto path = folder.write("m.pkl", proto(4) + of_one_list(list_of(numbers)) + ".");
  check_view(open(path, options).root()["list"], numbers);
  for (const std::string type : {"", "tuple", "set", "frozenset"}) {
    const Numbers some = some_of(20'000)[0];
    check_view(open(folder.write("w.pkl", proto(4) + container_of(type, some) + "."), options).root()["value"], some);
  }
  // The arguments of a call are values, so that each counts.
  const Error needed = thrown_by([&] {
    return open(folder.write("w.pkl", proto(4) + global("mine", "f") + container_of("tuple", numbers) + "R."), options);
  });
  CHECK(needed.code() == ErrorCode::limit_exceeded);
  CHECK(needed.message().find("pickle_operations") != std::string::npos);
  // The places of the numbers are metadata.
  options.limits.metadata_memory_bytes = 200;
  const Error memory = thrown_by([&] { return open(path, options); });
  CHECK(memory.code() == ErrorCode::limit_exceeded);
  CHECK(memory.message().find("metadata_memory_bytes") != std::string::npos);
}

TEST_CASE("pickled numbers: elements of a file that changed are an error, not other numbers") {
  const TempFolder folder;
  const Numbers numbers = made(3000, [](std::size_t i) { return real(static_cast<double>(i)); });
  const std::string bytes = proto(4) + of_one_list(list_of(numbers)) + ".";
  const auto path = folder.write("m.pkl", bytes);
  for (const std::size_t size : {bytes.size(), bytes.size() / 4}) {
    static_cast<void>(folder.write("m.pkl", bytes));
    const Record list = open(path, {.access = Access::read}).root()["list"];
    CHECK(list[0].real() == 0);
    static_cast<void>(folder.write("m.pkl", std::string(size, 'G')));
    const Error changed = thrown_by([&] { return list[2999]; });
    CHECK(changed.code() == ErrorCode::changed_on_disk);
    CHECK(changed.path() == path.string());
    // What cannot throw finds the element, and no kind.
    const auto found = list.find("2999");
    REQUIRE(found);
    CHECK(found->kind() == RecordKind::null);
    CHECK(thrown_by([&] { return found->real(); }).code() == ErrorCode::changed_on_disk);
  }
}

TEST_CASE("pickled numbers: a list of millions opens in the memory of its places, in any container and file") {
  const TempFolder folder;
  constexpr std::size_t count = 5'000'000;
  std::filesystem::path path;
  std::string batch;
  for (std::size_t i = 0; i < 1000; ++i) batch += real(static_cast<double>(i) / 4).spelled;
  const auto repeated = [&](const std::string& begin, const std::string& each, const std::string& end) {
    std::string out = begin;
    for (std::size_t i = 0; i < count / 1000; ++i) out += each;
    return out + end;
  };
  std::string key = "list";
  SUBCASE("a list") {
    path = folder.write("m.pkl", proto(4) + of_one_list(repeated("]\x94", "(" + batch + "e", "")) + ".");
  }
  SUBCASE("a list as the whole") {
    path = folder.write("m.pkl", repeated(proto(4) + "]\x94", "(" + batch + "e", "."));
    key = "value";
  }
  SUBCASE("a list that becomes a set") {
    path = folder.write("m.pkl", repeated(proto(2) + global("__builtin__", "set") + "]", "(" + batch + "e", "\x85R."));
    key = "value";
  }
  SUBCASE("a tuple") { path = folder.write("m.pkl", proto(4) + of_one_list(repeated("(", batch, "t")) + "."); }
  SUBCASE("a set") {
    path = folder.write("m.pkl", proto(4) + of_one_list(repeated("\x8f", "(" + batch + "\x90", "")) + ".");
  }
  SUBCASE("a frozen set") { path = folder.write("m.pkl", proto(4) + of_one_list(repeated("(", batch, "\x91")) + "."); }
  SUBCASE("a list in PyTorch's tar") {
    path =
        folder.write("m.tar", test::tar_file({{"sys_info", pickled(dict({text("protocol_version"), integer(1000)}))},
                                              {"storages", pickled(integer(0)) + pickled("]")},
                                              {"tensors", pickled(integer(0))},
                                              {"pickle", pickled(of_one_list(repeated("]", "(" + batch + "e", "")))}}));
  }
  const bool measured = test::reset_peak() && !test::memory_is_shadowed();
  const std::uint64_t before = test::resident_bytes();
  const Checkpoint checkpoint = open(path);
  const Record list = checkpoint.root()[key];
  CHECK(list.size() == count);
  CHECK(list[count - 1].real() == 999.0 / 4);
  CHECK(list.numbers().read<double>(count - 2) == 998.0 / 4);
  if (measured) CHECK(test::peak_resident_bytes() < before + (16u << 20));
}
