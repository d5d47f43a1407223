#include "api/patch/managed_fields.h"

#include <algorithm>
#include <set>

#include "api/crd/kind.h"
#include "api/patch/typed.h"
#include "api/schema/canonical.h"
#include "api/schema/decode.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kUpdateManagersMax = 10;
constexpr std::string_view kBeforeFirstApply = "before-first-apply";
constexpr std::string_view kAncient = "ancient-changes";

struct Entry {
  std::string manager, operation, api_version, subresource, time;
  FieldSet set;
  const json::Value* written = nullptr;  // the set as it stands in the tree that it was read from; null once it differs

  void take(const FieldSet& fields) {
    if (set.subtract(fields)) written = nullptr;
  }
  bool is(std::string_view who, std::string_view what, std::string_view version, std::string_view sub) const {
    // An applier is the same one in every version.
    return manager == who && operation == what && subresource == sub && (what == "Apply" || api_version == version);
  }
};

std::vector<Entry> read_entries(const json::Value* object) {
  std::vector<Entry> out;
  if (object == nullptr) return out;
  const json::Array* list = json::get_array(*object, {"metadata", "managedFields"});
  if (list == nullptr) return out;
  for (const json::Value& e : *list) {
    const json::Value* fields = json::find(e, {"fieldsV1"});
    auto set = fields == nullptr ? Result<FieldSet>(FieldSet()) : FieldSet::decode(*fields);
    if (!set) continue;  // an entry that nobody can read owns nothing
    auto text = [&](const char* name) { return std::string(json::get_string(e, {name})); };
    out.push_back({text("manager"), text("operation"), text("apiVersion"), text("subresource"), text("time"), *std::move(set), fields});
  }
  return out;
}

// What the live object says of this applier; null where it says nothing, or not in this version.
const json::Value* find_own(const json::Value& live, const FieldManager& who) {
  const json::Array* list = json::get_array(live, {"metadata", "managedFields"});
  if (list == nullptr) return nullptr;
  for (const json::Value& e : *list) {
    auto is = [&e](const char* name, std::string_view wanted) { return json::get_string(e, {name}) == wanted; };
    if (is("manager", who.manager) && is("operation", "Apply") && is("subresource", who.subresource)) return is("apiVersion", who.api_version) ? &e : nullptr;
  }
  return nullptr;
}

void sort_members(json::Object& object) {
  std::vector<json::Object::iterator> order;
  order.reserve(object.size());
  for (auto it = object.begin(); it != object.end(); ++it) order.push_back(it);
  std::ranges::sort(order, {}, [](const auto& it) { return std::string_view(it->key()); });
  json::Object sorted(object.storage());
  sorted.reserve(object.size());
  for (const auto& it : order) sorted.emplace(it->key(), std::move(it->value()));
  object = std::move(sorted);
}

// The object stays canonical.
void write_entries(json::Value& object, std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& e) { return e.set.empty(); });
  auto key = [](const Entry& e) { return std::tie(e.operation, e.time, e.manager, e.api_version, e.subresource); };
  std::ranges::sort(entries, [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
  // The oldest updaters become one, so that the list stays short.
  while (std::ranges::count(entries, "Update", &Entry::operation) > static_cast<std::ptrdiff_t>(kUpdateManagersMax)) {
    auto first = std::ranges::find(entries, "Update", &Entry::operation);
    auto second = std::ranges::find_if(first + 1, entries.end(), [&](const Entry& e) { return e.operation == "Update" && e.api_version == first->api_version; });
    if (second == entries.end()) break;
    second->set.unite(first->set);
    second->written = nullptr;
    second->manager = kAncient;
    second->subresource.clear();
    entries.erase(first);
  }
  const boost::json::storage_ptr& storage = object.storage();
  json::Array list(storage);
  for (const Entry& e : entries) {
    json::Object o(storage);
    o.reserve(7);
    o["apiVersion"] = e.api_version;
    o["fieldsType"] = "FieldsV1";
    if (e.written != nullptr) o["fieldsV1"] = *e.written;
    else o["fieldsV1"] = e.set.encode(storage);
    o["manager"] = e.manager;
    o["operation"] = e.operation;
    if (!e.subresource.empty()) o["subresource"] = e.subresource;
    if (!e.time.empty()) o["time"] = e.time;
    list.push_back(std::move(o));
  }
  json::Value& meta = json::at_path(object, {"metadata"});
  if (!meta.is_object()) meta.emplace_object();
  json::Object& members = meta.get_object();
  if (list.empty()) {
    members.stable_erase("managedFields");
    return;
  }
  const bool in_place = members.contains("managedFields");
  members["managedFields"] = std::move(list);
  if (!in_place) sort_members(members);
}

// What nobody owns: identity and what the server writes; and what this kind of request cannot set.
constexpr std::string_view kUnowned[] = {"apiVersion", "kind"};
constexpr std::string_view kUnownedOrStatus[] = {"apiVersion", "kind", "status"};
constexpr std::string_view kUnownedOrSpec[] = {"apiVersion", "kind", "spec"};
constexpr std::string_view kUnownedOfMetadata[] = {"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"};

typed::Unowned unowned_of(const Type& type, std::string_view subresource) {
  const Field* status = type.find("status");
  bool has_status = type.custom() != nullptr ? type.custom()->has_status : status != nullptr && status->always();
  typed::Unowned out{kUnowned, kUnownedOfMetadata};
  if (has_status && subresource == "status") out.of_object = kUnownedOrSpec;
  else if (has_status && subresource.empty()) out.of_object = kUnownedOrStatus;
  return out;
}

void erase_fields(FieldSet& set, std::span<const std::string_view> names) {
  std::erase_if(set.children, [&](const auto& child) {
    std::string_view element = child.first;
    return element.starts_with("f:") && std::ranges::find(names, element.substr(2)) != names.end();
  });
}

void strip(FieldSet& set, const typed::Unowned& unowned = {kUnowned, kUnownedOfMetadata}) {
  set.member = false;
  erase_fields(set, unowned.of_object);
  FieldSet* meta = set.find("f:metadata");
  if (meta == nullptr) return;
  meta->member = false;
  erase_fields(*meta, unowned.of_metadata);
  if (meta->empty()) std::erase_if(set.children, [](const auto& child) { return child.first == "f:metadata"; });
}

json::Value empty_object(const Type& type) {
  json::Value out(json::Object{});
  (void)canonicalize_tree(out, type, {});  // nothing to fail on
  return out;
}

std::string shown(const Entry& e) {
  std::string out = json::format(json::Value(e.manager));
  if (!e.subresource.empty()) out += cat(" with subresource ", json::format(json::Value(e.subresource)));
  if (e.operation == "Update") out += cat(" using ", e.api_version);
  return out;
}

}  // namespace

namespace {

bool in_order(const json::Value& a, const json::Value& b) {
  for (const char* name : {"operation", "time", "manager", "apiVersion", "subresource"})
    if (int order = json::get_string(a, {name}).compare(json::get_string(b, {name})); order != 0) return order < 0;
  return false;
}

// The applier owns what it speaks of, and gives some of that other values that nobody else has a word in, or none: nothing is merged, and nobody's
// fields change. False where there is more to it.
bool apply_values(const json::Value& live, const json::Value& config, const Type& type, const FieldManager& who, const typed::Unowned& unowned, ApplyResult& result) {
  const json::Value* own = find_own(live, who);
  const json::Value* fields = own == nullptr ? nullptr : json::find(*own, {"fieldsV1"});
  if (fields == nullptr || !typed::speaks_of(config, type, unowned, *fields)) return false;
  FieldSet modified;
  typed::Overlay overlay = typed::overlay_of(live, config, type, modified);
  result.unchanged = overlay == typed::Overlay::kNothing;
  if (overlay != typed::Overlay::kValues) return result.unchanged;
  FieldSet taken = modified;
  strip(taken);
  const json::Array& entries = *json::get_array(live, {"metadata", "managedFields"});
  for (const json::Value& e : entries)
    if (const json::Value* theirs = json::find(e, {"fieldsV1"}); &e != own && (theirs == nullptr || taken.meets(*theirs))) return false;
  if (taken.empty() || json::get_string(*own, {"time"}).empty()) return false;

  result.object = json::Value(live, live.storage());
  typed::lay_over(result.object, config, type, modified);
  json::Array& written = json::find(result.object, {"metadata", "managedFields"})->get_array();
  *json::find(written[static_cast<std::size_t>(own - entries.data())], {"time"}) = format_rfc3339(who.now);
  if (!std::ranges::is_sorted(written, in_order)) std::ranges::sort(written, in_order);
  return true;
}

}  // namespace

namespace {

// name: "namespace/name", as the configuration has it.
std::unexpected<Error> untyped(std::string_view name, std::string_view kind, const FieldManager& who, std::string_view why) {
  return fail(Code::kInvalidArgument, cat("failed to create typed patch object (", name, "; ", who.api_version, ", Kind=", kind, "): ", why));
}

std::string name_of(const json::Value& config) {
  std::string_view name = json::get_string(config, {"metadata", "name"}), ns = json::get_string(config, {"metadata", "namespace"});
  return cat(ns, ns.empty() ? "" : "/", name);
}

}  // namespace

Result<json::Value> read_configuration(json::Value configuration, const Type& type, const FieldManager& who) {
  json::Value* meta = json::find(configuration, {"metadata"});
  if (json::Object* members = meta == nullptr ? nullptr : meta->if_object()) {
    const json::Array* given = json::get_array(*meta, {"managedFields"});
    if (given != nullptr && !given->empty()) return fail(Code::kInvalidArgument, "metadata.managedFields must be nil");
    members->erase("managedFields");
  }
  const std::string name = name_of(configuration), kind(json::get_string(configuration, {"kind"}));  // a walk that fails leaves half a tree
  std::vector<std::string> unknown;
  CanonicalOptions options;
  options.keep_zero = true;
  options.add_required = false;
  options.unknown = &unknown;
  if (auto done = canonicalize_tree(configuration, type, options); !done) return untyped(name, kind, who, done.error().message());
  if (!unknown.empty()) return untyped(name, kind, who, cat(".", unknown[0], ": field not declared in schema"));
  return configuration;
}

Result<ApplyResult> apply_configuration(const json::Value* live, const json::Value& configuration, const Type& type, const FieldManager& who, bool force) {
  TRY_ASSIGN(json::Value config, read_configuration(json::Value(configuration, live != nullptr ? live->storage() : configuration.storage()), type, who));
  return apply_read(live, config, type, who, force);
}

Result<ApplyResult> apply_read(const json::Value* live, const json::Value& config, const Type& type, const FieldManager& who, bool force) {
  const typed::Unowned unowned = unowned_of(type, who.subresource);
  ApplyResult result{json::Value(nullptr, live != nullptr ? live->storage() : config.storage())};  // else what is assigned to it would be copied
  if (live != nullptr && apply_values(*live, config, type, who, unowned, result)) return result;
  auto set = typed::fields_of(config, type);
  if (!set) return untyped(name_of(config), json::get_string(config, {"kind"}), who, set.error().message());
  strip(*set, unowned);

  // managedFields stay in both sides of what follows, and are written anew at the end.
  const json::Value nothing = live == nullptr ? empty_object(type) : json::Value();
  const json::Value& before = live == nullptr ? nothing : *live;
  std::vector<Entry> entries = read_entries(live);
  if (live != nullptr && entries.empty()) {
    FieldSet all = typed::compare(empty_object(type), before, type).added;
    all.unite(typed::compare(empty_object(type), before, type).modified);
    strip(all);
    entries.push_back({std::string(kBeforeFirstApply), "Update", who.api_version, "", format_rfc3339(who.now), std::move(all)});
  }
  auto self = std::ranges::find_if(entries, [&](const Entry& e) { return e.is(who.manager, "Apply", {}, who.subresource); });
  if (self == entries.end()) {
    entries.push_back({who.manager, "Apply", who.api_version, who.subresource, format_rfc3339(who.now), {}});
    self = entries.end() - 1;
  }
  bool same_fields = self->set == *set, same_set = same_fields && self->api_version == who.api_version;
  FieldSet last = std::exchange(self->set, *std::move(set));
  if (!same_fields) self->written = nullptr;
  self->api_version = who.api_version;

  json::Value object = typed::merge(before, config, type);
  if (!same_set) {
    FieldSet kept;
    for (const Entry& e : entries) kept.unite(e.set);
    typed::remove_items(object, type, last, kept);
  }
  TRY(canonicalize(object, type));

  typed::Difference difference = typed::compare(before, object, type);
  strip(difference.added);
  strip(difference.modified);
  strip(difference.removed);
  FieldSet taken = difference.added;
  taken.unite(difference.modified);
  for (Entry& e : entries) {
    if (&e == &*self) continue;
    FieldSet conflict = e.set.intersect(taken);
    if (!conflict.empty() && !force)
      for (std::string& path : conflict.paths()) result.conflicts.push_back({shown(e), std::move(path)});
    e.take(conflict);
    e.take(difference.removed);
  }
  if (!result.conflicts.empty()) return result;
  result.unchanged = live != nullptr && same_set && difference.empty();
  if (result.unchanged) return result;
  self->time = format_rfc3339(who.now);
  write_entries(object, std::move(entries));
  result.object = std::move(object);
  return result;
}

json::Value make_apply_conflict_status(const std::vector<ApplyConflict>& conflicts) {
  json::Array causes;
  std::set<std::string> managers;
  for (const ApplyConflict& c : conflicts) {
    causes.push_back(json::Object{{"reason", "FieldManagerConflict"}, {"message", cat("conflict with ", c.manager)}, {"field", c.field}});
    managers.insert(c.manager);
  }
  std::string message;
  if (conflicts.size() == 1) {
    message = cat("Apply failed with 1 conflict: conflict with ", conflicts[0].manager, ": ", conflicts[0].field);
  } else {
    std::vector<std::string> lines;
    for (const std::string& m : managers) {
      lines.push_back(cat("conflicts with ", m, ":"));
      for (const ApplyConflict& c : conflicts)
        if (c.manager == m) lines.push_back(cat("- ", c.field));
    }
    message = cat("Apply failed with ", conflicts.size(), " conflicts: ", join(lines, "\n"));
  }
  return json::Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Object()}, {"status", "Failure"}, {"message", message}, {"reason", "Conflict"},
                      {"details", json::Object{{"causes", std::move(causes)}}}, {"code", 409}};
}

void update_managed_fields(json::Value& object, const json::Value* old, const Type& type, const FieldManager& who) {
  // A client that sends the list empty asks for a fresh start; one that leaves it out keeps it.
  const json::Array* sent = json::get_array(object, {"metadata", "managedFields"});
  bool reset = sent != nullptr && (sent->empty() || (sent->size() == 1 && sent->at(0).is_object() && json::get_string(sent->at(0), {"manager"}).empty() && sent->at(0).get_object().size() <= 1));
  std::vector<Entry> entries = reset ? std::vector<Entry>() : sent != nullptr ? read_entries(&object) : read_entries(old);
  if (reset) {
    write_entries(object, {});
    return;
  }
  const json::Value nothing = old == nullptr ? empty_object(type) : json::Value();
  typed::Difference difference = typed::compare(old == nullptr ? nothing : *old, object, type);
  for (FieldSet* s : {&difference.added, &difference.modified, &difference.removed}) strip(*s);
  FieldSet taken = std::move(difference.added);
  taken.unite(difference.modified);
  strip(taken, unowned_of(type, who.subresource));
  auto self = std::ranges::find_if(entries, [&](const Entry& e) { return e.is(who.manager, "Update", who.api_version, who.subresource); });
  for (auto e = entries.begin(); e != entries.end(); ++e) {
    if (e != self) e->take(taken);  // its own it would only be given back
    e->take(difference.removed);
  }
  if (!taken.empty()) {
    if (self == entries.end()) {
      entries.push_back({who.manager, "Update", who.api_version, who.subresource, {}, {}});
      self = entries.end() - 1;
    }
    if (self->set.empty()) self->set = std::move(taken), self->written = nullptr;
    else if (self->set.unite(taken)) self->written = nullptr;
    self->time = format_rfc3339(who.now);
  }
  write_entries(object, std::move(entries));
}

}  // namespace monopod::api
