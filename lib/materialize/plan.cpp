#include "heft/plan.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/tensor_specs.hpp"

namespace heft {
namespace {

using engine::PlanEntry;

Error refusal(ErrorCode code, std::string_view tensor, std::string message) {
  return Error(code, std::move(message), {.path = {}, .tensor = std::string(tensor)});
}

// Calls `work`, and adds the view's file and name to its errors where they have none.
template <class Work>
void about(const TensorView& view, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw error.with_path(view.shard_path()).with_tensor(view.name());
  }
}

// The types heft has no row for keep the bytes that the file gave them.
std::uint64_t packed_size(const TensorView& view, DType dtype) {
  return dtype == DType::unknown ? view.size_bytes() : bytes_for(dtype, view.shape());
}

// A buffer with strides: every element inside, no two at one place.
void require_layout(const PlanEntry& entry, const Strides& strides) {
  const auto refuse = [&](std::string message) {
    return refusal(ErrorCode::out_of_range, entry.name, std::move(message));
  };
  if (strides.rank() != entry.shape.rank())
    throw refuse(fmt::format("expected a stride for each of {} dims, found {}", entry.shape.rank(), strides.rank()));
  std::vector<std::size_t> dims(strides.rank());
  std::iota(dims.begin(), dims.end(), 0u);
  std::sort(dims.begin(), dims.end(), [&](std::size_t a, std::size_t b) { return strides[a] < strides[b]; });
  // From the smallest stride outwards: when each dim steps past all elements of the dims before it, no two indices
  // share an element.
  std::uint64_t span = 1;  // elements from the first to the last of the dims seen so far
  for (const std::size_t dim : dims) {
    if (entry.shape[dim] == 1) continue;
    if (strides[dim] < 0 || static_cast<std::uint64_t>(strides[dim]) < span)
      throw refuse(fmt::format("expected strides that keep elements apart, found {} for shape {}", to_string(strides),
                               to_string(entry.shape)));
    span = core::add_or_throw(span,
                              core::mul_or_throw(static_cast<std::uint64_t>(entry.shape[dim] - 1),
                                                 static_cast<std::uint64_t>(strides[dim]), "bytes of the buffer"),
                              "bytes of the buffer");
  }
  const std::uint64_t needed = core::mul_or_throw(span, info(entry.dtype).block_bytes, "bytes of the buffer");
  if (needed > entry.into.size())
    throw refuse(fmt::format("expected a buffer of {} bytes, found {}", needed, entry.into.size()));
}

}  // namespace

LoadPlan::LoadPlan() : state_(std::make_unique<State>()) {}
LoadPlan::LoadPlan(const Limits& limits) : LoadPlan() {
  state_->repeated = engine::RepeatedBytes(limits.repeated_bytes);
}
LoadPlan::LoadPlan(const LoadPlan& other) : state_(std::make_unique<State>(*other.state_)) {}
LoadPlan::LoadPlan(LoadPlan&& other) noexcept = default;
LoadPlan& LoadPlan::operator=(LoadPlan other) noexcept {
  state_.swap(other.state_);
  return *this;
}
LoadPlan::~LoadPlan() = default;

namespace {

// Adds an entry and its transfers, or nothing. `add_to` adds them to the table, given the entry's index and its
// strides. `views` are what the entry is made of, where the load allocates it.
template <class State, class AddTransfers>
void add_entry(State& state, PlanEntry entry, std::span<const TensorView> views, const AddTransfers& add_to) {
  engine::Transfers& table = state.changed_transfers();
  // The old lengths, for the rollback. Sources and conversions that are new stay in the table: unused, they cost a row.
  const std::size_t transfer_count = table.transfers.size();
  const std::size_t axis_count = table.axes.size();
  const std::size_t number = state.entries.size();
  const Strides strides = entry.strides ? *entry.strides : Strides::contiguous(entry.shape);
  std::size_t counted = 0;
  try {
    add_to(table, static_cast<engine::EntryIndex>(number), strides);
    for (; counted < views.size(); ++counted) state.repeated.add(views[counted]);
    state.entries.push_back(std::move(entry));
    const auto name_of = [&](std::uint32_t position) { return std::string_view(state.entries[position].name); };
    // The name is added last: a table of names has no removal, and nothing after it throws.
    if (state.names.add(state.entries.back().name, name_of) != core::NameTable::none)
      throw refusal(ErrorCode::ambiguous, state.entries.back().name,
                    "expected one tensor of that name in the plan, this is the second");
    state.bytes_written += state.entries.back().size_bytes;
  } catch (...) {
    while (counted > 0) state.repeated.take_back(views[--counted]);
    table.transfers.resize(transfer_count);
    table.axes.resize(axis_count);
    state.entries.resize(number);
    throw;
  }
}

}  // namespace

void LoadPlan::add(TensorView view) {
  const DType dtype = view.wanted_dtype();
  add(std::move(view), dtype);
}

void LoadPlan::add(TensorView view, DType dtype) {
  about(view, [&] {
    PlanEntry entry{.name = std::string(view.name()),
                    .dtype = dtype,
                    .shape = view.shape(),
                    .size_bytes = packed_size(view, dtype)};
    add_entry(*state_, std::move(entry), {&view, 1},
              [&](engine::Transfers& table, engine::EntryIndex entry_index, const Strides& strides) {
                table.add(entry_index, view, dtype, {.first = 0, .strides = strides.span()});
              });
  });
}

void LoadPlan::add(TensorView view, DType dtype, std::span<std::byte> into) {
  const std::uint64_t size = packed_size(view, dtype);
  if (into.size() < size)
    throw refusal(ErrorCode::out_of_range, view.name(),
                  fmt::format("expected a buffer of {} bytes, found {}", size, into.size()));
  PlanEntry entry{.name = std::string(view.name()),
                  .dtype = dtype,
                  .shape = view.shape(),
                  .size_bytes = size,
                  .into = into.first(size),
                  .has_buffer = true};
  add_entry(*state_, std::move(entry), {},
            [&](engine::Transfers& table, engine::EntryIndex entry_index, const Strides& strides) {
              table.add(entry_index, view, dtype, {.first = 0, .strides = strides.span()});
            });
}

void LoadPlan::add(TensorView view, DType dtype, std::span<std::byte> into, const Strides& strides) {
  if (!is_plain(dtype) || dtype == DType::unknown) {
    if (strides == Strides::contiguous(view.shape())) return add(std::move(view), dtype, into);
    throw refusal(ErrorCode::unsupported, view.name(),
                  fmt::format("expected packed strides for {}, found {}", heft::name(dtype), to_string(strides)));
  }
  PlanEntry entry{.name = std::string(view.name()),
                  .dtype = dtype,
                  .shape = view.shape(),
                  .strides = std::make_shared<const Strides>(strides),
                  .size_bytes = packed_size(view, dtype),
                  .into = into,
                  .has_buffer = true};
  if (entry.size_bytes != 0) require_layout(entry, strides);
  add_entry(*state_, std::move(entry), {},
            [&](engine::Transfers& table, engine::EntryIndex entry_index, const Strides& to) {
              table.add(entry_index, view, dtype, {.first = 0, .strides = to.span()});
            });
}

std::size_t LoadPlan::size() const noexcept { return state_->entries.size(); }

TensorSpec LoadPlan::spec(std::size_t position) const {
  if (position >= size())
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected one of {} planned tensors, found number {}", size(), position));
  return engine::tensor_spec(state_->entries[position], {}, *state_->transfers, 1);
}

LoadEstimate LoadPlan::estimate() const { return estimate(MaterializeOptions{}); }

LoadEstimate LoadPlan::estimate(const MaterializeOptions& options) const {
  const engine::Budget budget = engine::budget_for(*this, options);
  const engine::ScheduleSizes& sizes = engine::PlanAccess::schedule(*this)->sizes;
  return {.bytes_read = sizes.read,
          .bytes_written = sizes.written,
          .host_bytes = budget.host_bytes,
          .device_bytes = options.destination ? budget.destination_bytes : 0};
}

const engine::PlanEntries& engine::PlanAccess::entries(const LoadPlan& plan) noexcept { return plan.state_->entries; }
const engine::Transfers& engine::PlanAccess::transfers(const LoadPlan& plan) noexcept {
  return *plan.state_->transfers;
}
std::shared_ptr<const engine::Transfers> engine::PlanAccess::shared_transfers(const LoadPlan& plan) noexcept {
  return plan.state_->transfers;
}
const core::NameTable& engine::PlanAccess::names(const LoadPlan& plan) noexcept { return plan.state_->names; }

std::uint64_t engine::PlanAccess::bytes_written(const LoadPlan& plan) noexcept { return plan.state_->bytes_written; }

std::shared_ptr<const engine::Schedule> engine::PlanAccess::schedule(const LoadPlan& plan) {
  return plan.state_->compiled.schedule([&] { return compile(plan.state_->transfers); });
}

engine::CompiledPlan& engine::PlanAccess::compiled(const LoadPlan& plan) noexcept { return plan.state_->compiled; }

}  // namespace heft
