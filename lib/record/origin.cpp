#include "record/origin.hpp"

#include <sys/stat.h>

#include <algorithm>

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft {

std::string_view name(Freshness freshness) noexcept {
  switch (freshness) {
    case Freshness::same: return "same";
    case Freshness::modified: return "modified";
    case Freshness::replaced: return "replaced";
    case Freshness::gone: break;
  }
  return "gone";
}

namespace record {
namespace {

bool is_file(const Origin& origin) noexcept { return origin.storage != nullptr || S_ISREG(origin.identity.mode); }

Freshness freshness_in_storage(const Origin& origin) {
  if (origin.found.empty()) return Freshness::same;
  const SourceIdentity now = origin.storage->identity_now(origin.name);
  if (now.empty()) return Freshness::gone;
  if (now.object != origin.found.object) return Freshness::replaced;
  return now.version == origin.found.version ? Freshness::same : Freshness::modified;
}

}  // namespace

Freshness freshness_of(const Origin& origin) {
  if (origin.storage) return freshness_in_storage(origin);
  const auto now = mmap::identity_at(origin.path);
  if (!now) return Freshness::gone;
  if (!now->is_same_file(origin.identity)) return Freshness::replaced;
  if (!is_file(origin)) return Freshness::same;
  return mmap::difference(origin.identity, *now).empty() ? Freshness::same : Freshness::modified;
}

Freshness freshness_of(std::span<const Origin> origins) {
  Freshness worst = Freshness::same;
  for (const Origin& origin : origins) worst = std::max(worst, freshness_of(origin));
  return worst;
}

void require_one_model(std::span<const Origin> origins) {
  if (std::count_if(origins.begin(), origins.end(), is_file) < 2) return;
  for (const Origin& origin : origins)
    if (const Freshness now = freshness_of(origin); now != Freshness::same)
      throw Error(ErrorCode::changed_on_disk,
                  fmt::format("expected the files of one checkpoint, this one is {} since it was opened: open it again",
                              name(now)),
                  {.path = origin.path});
}

}  // namespace record
}  // namespace heft
