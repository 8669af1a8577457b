#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/checked.hpp"
#include "core/gather_run.hpp"
#include "heft/error.hpp"
#include "record/source.hpp"

namespace heft::record {
namespace {

using format::NumberList;
using format::NumberPlace;
using format::NumberRun;

// The maximum size of reads of packed bytes, which stay in the second-level cache.
constexpr std::uint64_t window_bytes = 256u << 10;
constexpr std::size_t max_element_bytes = 8;
// Size of the buffer for numbers between a mark and the wanted ones, which are gathered and dropped.
constexpr std::size_t dropped_numbers = 512;

// The packed bytes of one reader: read from a file by positional reads, else from the reader of an inflated source.
class Packed {
 public:
  Packed(std::shared_ptr<const Source> source, std::unique_ptr<SourceReader> reader)
      : source_(std::move(source)), reader_(std::move(reader)), size_(source_->size_bytes()) {}

  /// Returns at least `size` bytes from `offset`, and up to `wanted` if they are buffered or cheap to read.
  std::span<const std::byte> get(std::uint64_t offset, std::uint64_t size, std::uint64_t wanted) {
    core::require_inside(offset, size, size_, "a list of numbers");
    // Nothing that is buffered continues there.
    if (offset < begin_ || offset > begin_ + held_) begin_ = offset, held_ = 0;
    const auto tail = static_cast<std::size_t>(begin_ + held_ - offset);
    if (tail < size) refill(offset, tail, std::max(size, std::min({wanted, window_bytes, size_ - offset})));
    return std::span(window_).subspan(static_cast<std::size_t>(offset - begin_),
                                      static_cast<std::size_t>(begin_ + held_ - offset));
  }
  void finish() {
    if (reader_) reader_->finish();
  }

 private:
  // Keeps buffered bytes from `offset` on, so that no byte of an ascending source is read twice.
  void refill(std::uint64_t offset, std::size_t tail, std::uint64_t wanted) {
    if (window_.size() < wanted) window_.resize(static_cast<std::size_t>(wanted));
    // Moves them to the front: the window stays as large as the largest request.
    if (tail > 0) std::memmove(window_.data(), window_.data() + (offset - begin_), tail);
    begin_ = offset;
    held_ = tail;
    const auto more = std::span(window_).subspan(tail, static_cast<std::size_t>(wanted) - tail);
    if (reader_)
      reader_->read(offset + tail, more);
    else
      source_->fetch(offset + tail, more);
    held_ += more.size();
  }

  std::shared_ptr<const Source> source_;
  std::unique_ptr<SourceReader> reader_;
  std::uint64_t size_;
  std::vector<std::byte> window_;
  std::uint64_t begin_ = 0;
  std::size_t held_ = 0;
};

class NumberReader final : public SourceReader {
 public:
  /// `reader` is a reader of `packed`; null: reads `packed` itself.
  NumberReader(std::shared_ptr<const format::NumberLists> lists, format::GatherRun run,
               std::shared_ptr<const Source> packed, std::unique_ptr<SourceReader> reader)
      : lists_(std::move(lists)), gather_run_(run), path_(packed->path()), packed_(packed, std::move(reader)) {}

  void read(std::uint64_t offset, std::span<std::byte> into) override {
    try {
      core::require_inside(offset, into.size(), lists_->size_bytes(), "the elements of lists of numbers");
      while (!into.empty()) {
        const std::size_t done = read_some(offset, into);
        offset += done;
        into = into.subspan(done);
      }
    } catch (const Error& error) {
      throw error.with_path(path_);
    }
  }
  void finish() override { packed_.finish(); }

 private:
  // Reads bytes of one list, or of the gap before it. Returns their number.
  std::size_t read_some(std::uint64_t address, std::span<std::byte> into) {
    const std::vector<NumberList>& lists = lists_->lists();
    std::size_t number = number_;
    // The last list is tried before the search: ranges of a load mostly follow each other.
    if (number >= lists.size() || address < lists[number].address ||
        address - lists[number].address >= lists[number].size)
      number = lists_->find(address);
    const NumberList& list = lists[number];
    if (address < list.address) {
      // The address of a list is aligned to its elements. The file has no bytes for the gap before it.
      const std::size_t gap = std::min<std::uint64_t>(into.size(), list.address - address);
      std::memset(into.data(), 0, gap);
      return gap;
    }
    const std::size_t element = info(list.dtype).block_bytes;
    const std::uint64_t at = (address - list.address) / element;
    go_to(number, at);
    const std::size_t skipped = (address - list.address) % element;
    // A chunk of a load can start or end inside an element.
    if (skipped != 0 || into.size() < element) return read_part(list, skipped, into);
    const std::uint64_t count = std::min<std::uint64_t>(into.size() / element, list.count() - at);
    gather(list, into.data(), count);
    return static_cast<std::size_t>(count * element);
  }

  // Reads some bytes of one element.
  std::size_t read_part(const NumberList& list, std::size_t skipped, std::span<std::byte> into) {
    std::byte element[max_element_bytes];
    gather(list, element, 1);
    const std::size_t size = std::min(into.size(), info(list.dtype).block_bytes - skipped);
    std::memcpy(into.data(), element + skipped, size);
    return size;
  }

  void go_to(std::size_t number, std::uint64_t at) {
    const NumberList& list = lists_->lists()[number];
    if (number == number_ && place_.number == at) return;
    const NumberPlace nearest = format::place_before(list, at);
    // Goes on from the current place, unless a recorded one between it and the wanted number is nearer.
    if (number != number_ || at < place_.number || nearest.number > place_.number) {
      place_ = nearest;
      run_ = format::run_of(list, at);
    }
    number_ = number;
    std::byte dropped[dropped_numbers * max_element_bytes];
    while (place_.number < at) gather(list, dropped, std::min<std::uint64_t>(dropped_numbers, at - place_.number));
  }

  // Gathers `count` > 0 numbers from the place on, and compares the place with those recorded.
  void gather(const NumberList& list, std::byte* to, std::uint64_t count) {
    const std::uint64_t end = place_.number + count;
    // Runs that follow each other closely, as those of a pickle, are read together.
    const NumberRun last = format::run_of(list, end - 1);
    while (place_.number < end) {
      if (place_.number == run_.end.number) {
        run_ = format::run_of(list, place_.number);
        place_ = run_.begin;
      }
      const std::uint64_t now = std::min(end, run_.end.number) - place_.number;
      to += gather_some(list, to, now, last) * info(list.dtype).block_bytes;
      format::require_place(run_, place_);
    }
  }

  std::uint64_t gather_some(const NumberList& list, std::byte* to, std::uint64_t count, const NumberRun& last) {
    const std::uint64_t end = run_.end.offset;
    if (place_.offset >= end) format::require_place(run_, {run_.end.number, place_.offset + 1});
    const std::uint64_t left = end - place_.offset;
    // Of one run, no more is read than the wanted numbers can take.
    const bool is_last = run_.end.number == last.end.number;
    const std::uint64_t each = run_.stride != 0 ? run_.stride : format::max_spelled_bytes;
    const std::uint64_t wanted =
        is_last ? std::min(left, count < left / each ? count * each : left) : last.end.offset - place_.offset;
    // Two bytes tell the size of a number.
    std::span<const std::byte> bytes = packed_.get(place_.offset, std::min<std::uint64_t>(left, 2), wanted);
    const std::uint64_t size = format::number_size(list.spelling(), bytes);
    if (size > bytes.size()) bytes = packed_.get(place_.offset, size, std::max(size, left));
    bytes = bytes.first(std::min<std::size_t>(bytes.size(), std::max(left, size)));
    const format::Gathered done = format::gather(list, bytes, place_.offset, to, count, gather_run_);
    place_.number += done.numbers;
    place_.offset += done.used;
    return done.numbers;
  }

  std::shared_ptr<const format::NumberLists> lists_;
  format::GatherRun gather_run_;
  std::string_view path_;  // of the packed source
  Packed packed_;
  std::size_t number_ = SIZE_MAX;  // of the list that the place is in
  NumberPlace place_;
  NumberRun run_;  // that the place is in or behind
};

class NumberSource final : public Source {
 public:
  NumberSource(std::shared_ptr<const Source> packed, std::shared_ptr<const format::NumberLists> lists) noexcept
      : packed_(std::move(packed)), lists_(std::move(lists)) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::made; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return lists_->size_bytes(); }
  [[nodiscard]] const Source* root() const noexcept override { return packed_->root(); }
  [[nodiscard]] std::string_view path() const noexcept override { return packed_->path(); }
  [[nodiscard]] Order order() const noexcept override { return packed_->order(); }
  [[nodiscard]] std::uint64_t whole_bytes() const noexcept override { return packed_->whole_bytes(); }
  [[nodiscard]] std::uint64_t reader_bytes() const noexcept override { return window_bytes + packed_->reader_bytes(); }
  [[nodiscard]] std::unique_ptr<SourceReader> reader(format::GatherRun gather) const override {
    return std::make_unique<NumberReader>(lists_, gather, packed_, packed_->reader(gather));
  }

  // Random access: of an inflated source, the whole is kept while it is used.
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    const auto made = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(size));
    read(offset, *made);
    return {std::span<const std::byte>(*made), made};
  }
  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    try {
      NumberReader(lists_, core::gather_run, packed_, nullptr).read(offset, into);
    } catch (const Error& error) {
      // If numbers differ from those at open, the file may have changed.
      if (error.code() == ErrorCode::corrupt) check_unchanged();
      throw;
    }
    check_unchanged();
  }

 private:
  std::shared_ptr<const Source> packed_;
  std::shared_ptr<const format::NumberLists> lists_;
};

}  // namespace

std::shared_ptr<const Source> number_source(std::shared_ptr<const Source> packed,
                                            std::shared_ptr<const format::NumberLists> lists) {
  return std::make_shared<NumberSource>(std::move(packed), std::move(lists));
}

}  // namespace heft::record
