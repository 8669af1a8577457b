// core/table.hpp: a vector whose growth is counted in a budget. Every table of a file's metadata is one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "core/metadata_budget.hpp"

namespace heft::core {

/// A std::vector that takes the bytes of its elements from a MetadataBudget before it adds them. It counts elements,
/// not capacity, so that the count does not depend on how a vector grows; it counts a few ahead, so that most
/// push_back() calls only compare two numbers.
template <class T>
class Table : private std::vector<T> {
  using Base = std::vector<T>;

 public:
  using typename Base::const_iterator;
  using typename Base::iterator;
  using typename Base::value_type;

  /// Without a budget nothing is counted.
  Table() noexcept = default;
  explicit Table(std::shared_ptr<MetadataBudget> budget) noexcept : charge_(std::move(budget)) {}
  Table(Table&& other) noexcept = default;
  Table& operator=(Table&& other) noexcept = default;

  /// Replaces the rows by `rows`, which are counted.
  void adopt(std::vector<T> rows) {
    count(rows.size());
    static_cast<Base&>(*this) = std::move(rows);
  }

  using Base::at;
  using Base::back;
  using Base::begin;
  using Base::capacity;
  using Base::clear;
  using Base::data;
  using Base::empty;
  using Base::end;
  using Base::erase;
  using Base::front;
  using Base::pop_back;
  using Base::rbegin;
  using Base::rend;
  using Base::size;
  using Base::operator[];

  /// Reserved capacity is address space until it is written, so it is not counted.
  using Base::reserve;
  using Base::shrink_to_fit;

  friend bool operator==(const Table& table, const std::vector<T>& rows) {
    return static_cast<const Base&>(table) == rows;
  }

  void push_back(T row) {
    count(size() + 1);
    Base::push_back(std::move(row));
  }
  template <class... Parts>
  T& emplace_back(Parts&&... parts) {
    count(size() + 1);
    return Base::emplace_back(std::forward<Parts>(parts)...);
  }
  template <std::forward_iterator From>
  iterator insert(const_iterator place, From first, From last) {
    count(size() + static_cast<std::size_t>(std::distance(first, last)));
    return Base::insert(place, first, last);
  }
  iterator insert(const_iterator place, std::initializer_list<T> rows) {
    return insert(place, rows.begin(), rows.end());
  }
  void resize(std::size_t rows) {
    count(rows);
    Base::resize(rows);
  }
  void resize(std::size_t rows, const T& row) {
    count(rows);
    Base::resize(rows, row);
  }
  void assign(std::size_t rows, const T& row) {
    count(rows);
    Base::assign(rows, row);
  }

 private:
  // Upper bound of the rows that are counted ahead.
  static constexpr std::size_t rows_ahead = std::max<std::size_t>(4096 / sizeof(T), 1);

  void count(std::size_t rows) {
    if (rows <= counted_) [[likely]]
      return;
    const std::size_t wanted = rows + std::min(rows / 4, rows_ahead);
    charge_.add((wanted - counted_) * sizeof(T));
    counted_ = wanted;
  }

  MetadataCharge charge_;
  std::size_t counted_ = 0;
};

}  // namespace heft::core
