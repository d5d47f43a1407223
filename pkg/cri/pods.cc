// Records, and what all changes share.
#include "cri/pods.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "base/strings.h"
#include "cri/messages.h"

namespace monopod::cri {
namespace {

using async::Task;

template <typename Map>
Result<typename Map::mapped_type> find_in(const Map& all, std::string_view id, std::string_view what) {
  auto found = all.lower_bound(std::string(id));
  auto none = [&] { return refuse(Code::kNotFound, {what, " \"", id, "\": not found"}); };
  if (id.empty() || found == all.end() || !found->first.starts_with(id) || found->second->making) return none();
  auto next = std::next(found);
  if (found->first != id && next != all.end() && next->first.starts_with(id)) return refuse(Code::kInvalidArgument, {what, " \"", id, "\": several begin so"});
  return found->second;
}

template <typename Map>
auto list_of(const Map& all) {
  std::vector<typename Map::mapped_type> out;
  for (const auto& [id, item] : all)
    if (!item->making) out.push_back(item);
  std::ranges::sort(out, [](const auto& a, const auto& b) { return a->created > b->created; });
  return out;
}

}  // namespace

std::string runtime_id(std::string_view id) { return cat("cri-", id); }

Task<Result<>> Pods::save(const Sandbox& s) { return parts_.state.put(kRecords, cat("sandbox/", s.id), format_sandbox(s)); }
Task<Result<>> Pods::save(const Container& c) { return parts_.state.put(kRecords, cat("container/", c.id), format_container(c)); }

void Pods::warn(std::string_view what, std::string_view id, const Result<>& result) {
  if (!result) log::warn(what, {{"id", id}, {"error", result.error()}});
}

Result<SandboxPtr> Pods::find_sandbox(std::string_view id) const { return find_in(sandboxes_, id, "sandbox"); }
Result<ContainerPtr> Pods::find_container(std::string_view id) const { return find_in(containers_, id, "container"); }
std::vector<SandboxPtr> Pods::sandboxes() const { return list_of(sandboxes_); }
std::vector<ContainerPtr> Pods::containers() const { return list_of(containers_); }

std::vector<ContainerPtr> Pods::containers_of(std::string_view sandbox) const {
  std::vector<ContainerPtr> out = containers();
  std::erase_if(out, [&](const ContainerPtr& c) { return c->sandbox_id != sandbox; });
  return out;
}

std::string Pods::new_id() {
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    std::uint64_t n = parts_.rng.next();
    bytes.append(reinterpret_cast<const char*>(&n), sizeof n);
  }
  return format_hex(as_bytes(bytes));
}

Task<Result<>> Pods::wait_for_turn(std::shared_ptr<Item> item) {
  while (item->busy) CO_TRY(co_await item->changed.wait());  // forever: the change before it is bounded
  if (item->removed) co_return refuse(Code::kNotFound, {"\"", item->id, "\": not found"});
  co_return Result<>();
}

void Pods::emit(EventKind kind, const std::string& id, const std::string& sandbox_id) const {
  if (on_event) on_event(kind, id, sandbox_id);
}

std::string Pods::network_path(const Sandbox& s) const { return s.own_network() ? directories_.namespaces(s.id) + "/net" : std::string(); }

// The client's; else one for each sandbox.
std::string Pods::group(const Sandbox& s) const {
  std::string_view parent = json::get_string(s.config, {"linux", "cgroup_parent"});
  while (parent.ends_with('/')) parent.remove_suffix(1);
  return parent.empty() ? cat(directories_.groups, "/", s.id) : std::string(parent);
}

bool Pods::owns_group(const Sandbox& s) const { return group(s) == cat(directories_.groups, "/", s.id); }

}  // namespace monopod::cri
