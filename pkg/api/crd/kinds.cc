#include "api/crd/kinds.h"

#include <algorithm>
#include <tuple>

namespace monopod::api::crd {
namespace {

auto place_of(const std::shared_ptr<const CustomKind>& kind) { return std::tuple<std::string_view, std::string_view>(kind->names.group, kind->names.plural); }

}  // namespace

const CustomKind* KindSet::find(std::string_view group, std::string_view plural) const {
  auto at = std::ranges::lower_bound(kinds, std::tuple(group, plural), {}, place_of);
  return at != kinds.end() && place_of(*at) == std::tuple(group, plural) ? at->get() : nullptr;
}

void KindSet::each(const std::function<void(const Resource&)>& visit) const {
  for (const Resource& row : resources()) visit(row);
  for (const auto& kind : kinds)
    for (const auto& version : kind->versions)
      if (version->served) visit(*version);
}

Kinds::Kinds() : set_(std::make_shared<const KindSet>()) {}

Kinds::Found Kinds::find(std::string_view group, std::string_view version, std::string_view plural) const {
  if (const Resource* row = find_resource(group, version, plural)) return {row, nullptr};
  auto at = std::ranges::lower_bound(set_->kinds, std::tuple(group, plural), {}, place_of);
  if (at == set_->kinds.end() || place_of(*at) != std::tuple(group, plural)) return {};
  const CustomResource* row = (*at)->find(version);
  return row == nullptr ? Found{} : Found{row, *at};
}

void Kinds::swap(std::vector<std::shared_ptr<const CustomKind>> kinds) {
  auto next = std::make_shared<KindSet>();
  next->kinds = std::move(kinds);
  next->number = set_->number + 1;
  set_ = std::move(next);
}

void Kinds::put(std::shared_ptr<const CustomKind> kind) {
  std::vector<std::shared_ptr<const CustomKind>> kinds = set_->kinds;
  auto at = std::ranges::lower_bound(kinds, place_of(kind), {}, place_of);
  if (at != kinds.end() && place_of(*at) == place_of(kind)) *at = kind;
  else kinds.insert(at, kind);
  swap(std::move(kinds));
  tell({kind, true});
}

void Kinds::erase(std::string_view group, std::string_view plural) {
  std::vector<std::shared_ptr<const CustomKind>> kinds = set_->kinds;
  auto at = std::ranges::lower_bound(kinds, std::tuple(group, plural), {}, place_of);
  if (at == kinds.end() || place_of(*at) != std::tuple(group, plural)) return;
  std::shared_ptr<const CustomKind> gone = *at;
  kinds.erase(at);
  swap(std::move(kinds));
  tell({gone, false});
}

void Kinds::tell(const Change& change) {
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  for (const auto& listener : std::vector(listeners_))
    if (auto held = listener.lock()) (*held)(change);
}

std::shared_ptr<void> Kinds::on_change(Listener listener) {
  for (const auto& kind : set_->kinds) listener({kind, true});
  auto held = std::make_shared<Listener>(std::move(listener));
  listeners_.push_back(held);
  return held;
}

std::string_view Kinds::lasting(std::string_view text) { return *names_.emplace(text).first; }

}  // namespace monopod::api::crd
