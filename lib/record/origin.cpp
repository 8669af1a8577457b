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

// Returns false for folders, whose times change with every name that is created in them.
bool is_file(const Origin& origin) noexcept { return origin.storage != nullptr || S_ISREG(origin.identity.mode); }

// Returns the freshness of a name in a storage of the caller's, by the identities that the storage reports.
Freshness freshness_in_storage(const Origin& origin) {
  // A storage without identities cannot report a change.
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
  // The enumerators are in the order of severity.
  for (const Origin& origin : origins) worst = std::max(worst, freshness_of(origin));
  return worst;
}

void require_one_model(std::span<const Origin> origins) {
  // A single file cannot be a mixture: check_unchanged() compares it after its headers.
  if (std::count_if(origins.begin(), origins.end(), is_file) < 2) return;
  // By path, because a file that a rename has replaced is unchanged where it is open, but the others can be those of
  // the new model already.
  for (const Origin& origin : origins)
    if (const Freshness now = freshness_of(origin); now != Freshness::same)
      throw Error(ErrorCode::changed_on_disk,
                  fmt::format("expected the files of one checkpoint, this one is {} since it was opened: open it again",
                              name(now)),
                  {.path = origin.path});
}

}  // namespace record
}  // namespace heft
