#include "api/flow/control.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api::flow {
namespace {

constexpr std::string_view kGroup = "flowcontrol.apiserver.k8s.io";

std::vector<std::string> texts(const json::Value& object, std::string_view member) {
  std::vector<std::string> out;
  if (const json::Array* list = json::get_array(object, {member}))
    for (const json::Value& item : *list)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

bool holds(const std::vector<std::string>& list, std::string_view value) {
  return std::ranges::any_of(list, [value](const std::string& item) { return item == "*" || item == value; });
}

bool is_subject(const Schema::Subject& subject, const UserInfo& user) {
  switch (subject.kind) {
    case Schema::Subject::Kind::kUser: return subject.name == "*" || subject.name == user.name;
    case Schema::Subject::Kind::kGroup: return subject.name == "*" || user.in_group(subject.name);
    case Schema::Subject::Kind::kServiceAccount: {
      constexpr std::string_view kPrefix = "system:serviceaccount:";
      std::string_view rest = user.name;
      if (!rest.starts_with(kPrefix)) return false;
      auto [ns, name] = split_once(rest.substr(kPrefix.size()), ':');
      return ns == subject.ns && (subject.name == "*" || name.value_or("") == subject.name);
    }
  }
  return false;
}

bool covers_path(const Schema::Rule& rule, std::string_view path) {
  return std::ranges::any_of(rule.urls, [path](std::string_view url) {
    return url == "*" || url == path || (url.ends_with('*') && path.starts_with(url.substr(0, url.size() - 1)));
  });
}

bool covers(const Schema::Rule& rule, const Attributes& request) {
  if (!holds(rule.verbs, request.verb)) return false;
  if (!request.is_resource) return covers_path(rule, request.path);
  bool place = request.ns.empty() ? rule.cluster_scope : holds(rule.namespaces, request.ns);
  if (!place || !holds(rule.groups, request.group)) return false;
  return request.subresource.empty() ? holds(rule.resources, request.resource) : holds(rule.resources, cat(request.resource, '/', request.subresource));
}

std::uint64_t hash(std::string_view text, std::uint64_t from = 0xcbf29ce484222325U) {
  for (char c : text) from = (from ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  from ^= from >> 33;
  return from * 0xff51afd7ed558ccdU;
}

Schema::Subject read_subject(const json::Value& s) {
  std::string_view kind = json::get_string(s, {"kind"});
  if (kind == "User") return {Schema::Subject::Kind::kUser, {}, std::string(json::get_string(s, {"user", "name"}))};
  if (kind == "Group") return {Schema::Subject::Kind::kGroup, {}, std::string(json::get_string(s, {"group", "name"}))};
  return {Schema::Subject::Kind::kServiceAccount, std::string(json::get_string(s, {"serviceAccount", "namespace"})), std::string(json::get_string(s, {"serviceAccount", "name"}))};
}

std::vector<Schema::Rule> read_rules(const json::Value& policy, std::string_view member) {
  std::vector<Schema::Rule> out;
  if (const json::Array* rules = json::get_array(policy, {member}))
    for (const json::Value& r : *rules)
      out.push_back({texts(r, "verbs"), texts(r, "apiGroups"), texts(r, "resources"), texts(r, "namespaces"), texts(r, "nonResourceURLs"), json::get_bool(r, {"clusterScope"})});
  return out;
}

}  // namespace

bool Schema::matches(const Attributes& request) const {
  return std::ranges::any_of(policies, [&](const Policy& policy) {
    if (std::ranges::none_of(policy.subjects, [&](const Subject& s) { return is_subject(s, request.user); })) return false;
    return std::ranges::any_of(request.is_resource ? policy.resource_rules : policy.path_rules, [&](const Rule& rule) { return covers(rule, request); });
  });
}

Schema read_schema(const json::Value& object) {
  Schema out;
  out.name = json::get_string(object, {"metadata", "name"});
  out.uid = json::get_string(object, {"metadata", "uid"});
  out.level = json::get_string(object, {"spec", "priorityLevelConfiguration", "name"});
  out.precedence = json::get_int(object, {"spec", "matchingPrecedence"}, 1000);
  std::string_view by = json::get_string(object, {"spec", "distinguisherMethod", "type"});
  out.by = by == "ByUser" ? Schema::By::kUser : by == "ByNamespace" ? Schema::By::kNamespace : Schema::By::kNothing;
  if (const json::Array* rules = json::get_array(object, {"spec", "rules"}))
    for (const json::Value& r : *rules) {
      Schema::Policy& policy = out.policies.emplace_back();
      if (const json::Array* subjects = json::get_array(r, {"subjects"}))
        for (const json::Value& s : *subjects) policy.subjects.push_back(read_subject(s));
      policy.resource_rules = read_rules(r, "resourceRules");
      policy.path_rules = read_rules(r, "nonResourceRules");
    }
  return out;
}

LevelSettings read_level(const json::Value& object) {
  LevelSettings out;
  out.exempt = json::get_string(object, {"spec", "type"}) == "Exempt";
  auto number = [&](std::initializer_list<std::string_view> path, std::int64_t fallback, std::int64_t max) {
    return static_cast<int>(std::clamp<std::int64_t>(json::get_int(object, path, fallback), fallback < 0 ? -1 : 0, max));
  };
  out.shares = number({"spec", "limited", "nominalConcurrencyShares"}, 30, 100'000);
  out.lendable_percent = number({"spec", "limited", "lendablePercent"}, 0, 100);
  out.borrowing_percent = number({"spec", "limited", "borrowingLimitPercent"}, -1, 1'000'000);
  out.queues = json::get_string(object, {"spec", "limited", "limitResponse", "type"}) == "Queue";
  out.queue_count = number({"spec", "limited", "limitResponse", "queuing", "queues"}, 64, 1024);
  out.hand_size = number({"spec", "limited", "limitResponse", "queuing", "handSize"}, 8, 16);
  out.queue_length_max = number({"spec", "limited", "limitResponse", "queuing", "queueLengthLimit"}, 50, 10'000);
  return out;
}

void Control::refresh() {
  if (level_objects_ == nullptr) level_objects_ = caches_.find(kGroup, "prioritylevelconfigurations");
  if (schema_objects_ == nullptr) schema_objects_ = caches_.find(kGroup, "flowschemas");
  const WatchCache *levels = level_objects_, *schemas = schema_objects_;
  if (levels == nullptr || schemas == nullptr) return;
  // Generations begin at zero with nothing in the cache; what is seen is kept one higher.
  if (levels->generation() + 1 == levels_seen_ && schemas->generation() + 1 == schemas_seen_) return;
  levels_seen_ = levels->generation() + 1;
  schemas_seen_ = schemas->generation() + 1;
  std::map<std::string, LevelSettings> settings;
  for (const ObjectPtr& object : levels->objects()) settings.emplace(object->name(), read_level(object->tree()));
  pool_.configure(settings);
  for (const ObjectPtr& object : levels->objects())
    if (std::shared_ptr<Level> level = pool_.find(std::string(object->name()))) level->uid = object->uid();
  schemas_.clear();
  for (const ObjectPtr& object : schemas->objects())
    if (Schema schema = read_schema(object->tree()); settings.contains(schema.level)) schemas_.push_back(std::move(schema));
  std::ranges::stable_sort(schemas_, {}, &Schema::precedence);  // the cache is sorted by name
}

const Schema* Control::classify(const Attributes& request) const {
  for (const Schema& schema : schemas_)
    if (schema.matches(request)) return &schema;
  return nullptr;
}

async::Task<Outcome<Seat>> Control::admit(const Attributes& request, int width, std::string& schema_uid, std::string& level_uid) {
  refresh();
  const Schema* schema = classify(request);
  std::shared_ptr<Level> level = schema == nullptr ? nullptr : pool_.find(schema->level);
  if (!level) co_return Seat();  // only while a cluster starts, or after somebody took catch-all away
  schema_uid = schema->uid;
  level_uid = level->uid;
  std::string_view flow = schema->by == Schema::By::kUser ? request.user.name : schema->by == Schema::By::kNamespace ? request.ns : std::string_view();
  co_return co_await pool_.take(std::move(level), hash(flow, hash(schema->name)), width);
}

void Control::append_metrics(std::string& out) const {
  auto family = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    out += cat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
    for (const auto& [level, state] : pool_.levels()) out += cat(name, "{priority_level=\"", level, "\"} ", value(*state), '\n');
  };
  family("apiserver_flowcontrol_nominal_limit_seats", "gauge", "Seats of the level by its shares.", [](const Level& l) { return l.seats(); });
  family("apiserver_flowcontrol_current_executing_seats", "gauge", "Seats taken now.", [](const Level& l) { return l.executing(); });
  family("apiserver_flowcontrol_current_inqueue_requests", "gauge", "Requests that wait for a seat now.", [](const Level& l) { return l.waiting(); });
  family("apiserver_flowcontrol_dispatched_requests_total", "counter", "Requests that were given a seat.", [](const Level& l) { return l.dispatched; });
  family("apiserver_flowcontrol_rejected_requests_total", "counter", "Requests refused since their queue was full or their wait too long.",
         [](const Level& l) { return l.refused_full + l.refused_late; });
}

}  // namespace monopod::api::flow
