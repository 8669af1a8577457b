#include "materialize/budget.hpp"

#include "materialize/memory/arena.hpp"
#include "materialize/thread_pool.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {

unsigned asked_threads(const MaterializeOptions& options) {
  return options.threads == 0 ? usable_threads(max_threads) : options.threads;
}

std::uint64_t Budget::staging_bytes() const noexcept {
  // Rounded as an arena is: the budget counts the memory that the system provides, which is more than was requested.
  const std::uint64_t bytes = staging_buffers * staging_buffer_bytes;
  return round_up(bytes, bytes < Arena::huge_page ? mmap::page_size() : std::size_t{Arena::huge_page});
}

BudgetKey::BudgetKey(const MaterializeOptions& options, unsigned wanted_threads)
    : threads(wanted_threads),
      io_method(options.io_method),
      staging_bytes(options.staging_bytes),
      alignment(options.alignment),
      drop_page_cache(options.drop_page_cache),
      destination(options.destination.get()),
      owner(options.destination) {}

bool operator==(const BudgetKey& a, const BudgetKey& b) noexcept {
  // Addresses are compared together with owners: a new destination may have the address of one that was destroyed.
  return a.threads == b.threads && a.io_method == b.io_method && a.staging_bytes == b.staging_bytes &&
         a.alignment == b.alignment && a.drop_page_cache == b.drop_page_cache && a.destination == b.destination &&
         !a.owner.owner_before(b.owner) && !b.owner.owner_before(a.owner);
}

}  // namespace heft::engine
