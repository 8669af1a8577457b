// The memory of metadata is counted before it is allocated, and given back by the destructors of its owners.
#include "core/metadata_budget.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/table.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "support/thrown.hpp"

using namespace heft;
using core::MetadataBudget;

TEST_CASE("metadata budget: the default limit is 16 MiB and 8 bytes for each byte read") {
  MetadataBudget budget(0);
  CHECK(budget.limit() == 16u << 20);
  budget.add_read(1000);
  CHECK(budget.limit() == (16u << 20) + 8000);
  budget.add_read(UINT64_MAX - 1000);
  CHECK(budget.limit() == UINT64_MAX);
  CHECK(MetadataBudget(100).limit() == 100);
}

TEST_CASE("metadata budget: bytes over the limit are refused with the name of the limit, and not counted") {
  MetadataBudget budget(100);
  budget.take(60);
  const Error error = test::thrown_by([&] { budget.take(41); });
  CHECK(error.code() == ErrorCode::limit_exceeded);
  CHECK(error.message().find("Limits::metadata_memory_bytes") != std::string::npos);
  CHECK(error.message().find("at most 100 bytes") != std::string::npos);
  CHECK(budget.used_bytes() == 60);
  budget.take(40);
  budget.give_back(100);
  CHECK(budget.used_bytes() == 0);
  CHECK(budget.peak_bytes() == 100);
  CHECK(test::thrown_by([&] { budget.take(UINT64_MAX); }).code() == ErrorCode::limit_exceeded);
}

TEST_CASE("table: each way to grow counts the rows, and the destructor gives them back") {
  const auto budget = std::make_shared<MetadataBudget>(1u << 20);
  {
    core::Table<std::uint64_t> table(budget);
    table.push_back(1);
    CHECK(budget->used_bytes() == 8);
    table.emplace_back(2u);
    table.insert(table.end(), {3, 4, 5});
    table.resize(1000);
    CHECK(budget->used_bytes() >= 8000);
    CHECK(budget->used_bytes() <= 10'000);
    table.assign(2000, 7);
    CHECK(budget->used_bytes() >= 16'000);
    core::Table<std::uint64_t> moved(std::move(table));
    CHECK(moved.size() == 2000);
    CHECK(budget->used_bytes() >= 16'000);
    core::Table<std::uint64_t> adopted(budget);
    adopted.adopt(std::vector<std::uint64_t>(100, 1));
    CHECK(budget->used_bytes() >= 16'800);
  }
  CHECK(budget->used_bytes() == 0);
}

TEST_CASE("table: a row over the limit is refused before it is added") {
  const auto budget = std::make_shared<MetadataBudget>(1000);
  core::Table<std::uint64_t> table(budget);
  const auto fill = [&] {
    for (;;) table.push_back(0);
  };
  CHECK(test::thrown_by(fill).code() == ErrorCode::limit_exceeded);
  CHECK(table.size() * 8 <= 1000);
  CHECK(table.size() * 8 >= 600);  // rows are counted a few ahead
}

TEST_CASE("arena: its blocks are counted") {
  const auto budget = std::make_shared<MetadataBudget>(40'000);
  {
    core::Arena arena(budget);
    arena.store("x");
    CHECK(budget->used_bytes() == arena.size_bytes());
    CHECK(test::thrown_by([&] { arena.store(std::string(50'000, 'x')); }).code() == ErrorCode::limit_exceeded);
  }
  CHECK(budget->used_bytes() == 0);
}
