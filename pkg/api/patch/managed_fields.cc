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

// The live object says of this applier just these fields.
bool owns(const json::Value& live, const FieldManager& who, const FieldSet& set) {
  const json::Array* list = json::get_array(live, {"metadata", "managedFields"});
  if (list == nullptr) return false;
  for (const json::Value& e : *list) {
    auto is = [&e](const char* name, std::string_view wanted) { return json::get_string(e, {name}) == wanted; };
    if (!is("manager", who.manager) || !is("operation", "Apply") || !is("subresource", who.subresource)) continue;
    const json::Value* fields = json::find(e, {"fieldsV1"});
    return is("apiVersion", who.api_version) && fields != nullptr && set.is_written_as(*fields);
  }
  return false;
}

// False where the order of metadata's members may be another now.
bool write_entries(json::Value& object, std::vector<Entry> entries) {
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
    o["fieldsV1"] = e.written != nullptr ? *e.written : e.set.encode();
    o["manager"] = e.manager;
    o["operation"] = e.operation;
    if (!e.subresource.empty()) o["subresource"] = e.subresource;
    if (!e.time.empty()) o["time"] = e.time;
    list.push_back(std::move(o));
  }
  json::Value& meta = json::at_path(object, {"metadata"});
  if (!meta.is_object()) meta.emplace_object();
  const bool in_place = meta.get_object().contains("managedFields");
  if (list.empty()) {
    meta.get_object().erase("managedFields");
    return false;
  }
  meta.get_object()["managedFields"] = std::move(list);
  return in_place;
}

// What nobody owns: identity and what the server writes.
void strip(FieldSet& set) {
  set.member = false;
  set.erase({"f:apiVersion"});
  set.erase({"f:kind"});
  for (std::string_view name : {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:generation", "f:managedFields", "f:resourceVersion"}) set.erase({"f:metadata", name});
  set.erase_member({"f:metadata"});
}

// What this kind of request cannot set.
void strip_reset(FieldSet& set, const Type& type, std::string_view subresource) {
  const Field* status = type.find("status");
  bool has_status = type.custom() != nullptr ? type.custom()->has_status : status != nullptr && status->always();
  if (!has_status) return;
  if (subresource == "status") set.erase({"f:spec"});
  else if (subresource.empty()) set.erase({"f:status"});
}

json::Value without_managed(const json::Value& object, boost::json::storage_ptr storage) {
  json::Value out(object, std::move(storage));
  if (json::Value* meta = json::find(out, {"metadata"}); meta != nullptr && meta->is_object()) meta->get_object().erase("managedFields");
  return out;
}

json::Value empty_object(const Type& type) {
  json::Value out(json::Object{});
  (void)canonicalize_tree(out, type, {});  // nothing to fail on
  return out;
}

// Where only metadata has changed, and by our own making.
void settle_metadata(json::Value& object, const Type& type) {
  if (const Field* meta = type.find("metadata"); meta != nullptr && meta->type() != nullptr) (void)canonicalize_tree(json::at_path(object, {"metadata"}), *meta->type(), {});
}

std::string shown(const Entry& e) {
  std::string out = json::format(json::Value(e.manager));
  if (!e.subresource.empty()) out += cat(" with subresource ", json::format(json::Value(e.subresource)));
  if (e.operation == "Update") out += cat(" using ", e.api_version);
  return out;
}

}  // namespace

Result<ApplyResult> apply_configuration(const json::Value* live, const json::Value& configuration, const Type& type, const FieldManager& who, bool force) {
  std::string_view name = json::get_string(configuration, {"metadata", "name"}), ns = json::get_string(configuration, {"metadata", "namespace"});
  std::string_view kind = json::get_string(configuration, {"kind"});
  auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, cat("failed to create typed patch object (", ns, ns.empty() ? "" : "/", name, "; ", who.api_version, ", Kind=", kind, "): ", why));
  };
  if (const json::Array* given = json::get_array(configuration, {"metadata", "managedFields"}); given != nullptr && !given->empty())
    return fail(Code::kInvalidArgument, "metadata.managedFields must be nil");

  std::vector<std::string> unknown;
  CanonicalOptions options;
  options.keep_zero = true;
  options.add_required = false;
  options.unknown = &unknown;
  json::Value config = without_managed(configuration, live != nullptr ? live->storage() : configuration.storage());
  if (auto done = canonicalize_tree(config, type, options); !done) return refuse(done.error().message());
  if (!unknown.empty()) return refuse(cat(".", unknown[0], ": field not declared in schema"));
  auto set = typed::fields_of(config, type);
  if (!set) return refuse(set.error().message());
  strip(*set);
  strip_reset(*set, type, who.subresource);

  ApplyResult result;
  result.unchanged = live != nullptr && owns(*live, who, *set) && typed::covers(*live, config, type);
  if (result.unchanged) return result;

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
  if (!write_entries(object, std::move(entries))) settle_metadata(object, type);
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
  FieldSet taken = difference.added;
  taken.unite(difference.modified);
  strip_reset(taken, type, who.subresource);
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
    if (self->set.unite(taken)) self->written = nullptr;
    self->time = format_rfc3339(who.now);
  }
  if (!write_entries(object, std::move(entries))) settle_metadata(object, type);
}

}  // namespace monopod::api
