#include "api/audit/policy.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api::audit {
namespace {

constexpr std::string_view kLevels[] = {"None", "Metadata", "Request", "RequestResponse"};
constexpr std::string_view kStages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};
using Names = std::initializer_list<std::string_view>;

bool holds(const std::vector<std::string>& list, std::string_view value) { return std::ranges::find(list, value) != list.end(); }

bool matches_resource(const std::string& wanted, const Attributes& request) {
  if (wanted == "*") return true;
  auto [resource, subresource] = split_once(wanted, '/');
  if (!subresource) return request.subresource.empty() && resource == request.resource;
  if (resource == "*") return *subresource == request.subresource;
  return resource == request.resource && (*subresource == "*" || *subresource == request.subresource);
}

bool matches_group(const GroupResources& wanted, const Attributes& request) {
  if (wanted.group != request.group) return false;
  if (wanted.resources.empty()) return true;
  if (!wanted.names.empty() && !holds(wanted.names, request.name)) return false;
  return std::ranges::any_of(wanted.resources, [&request](const std::string& r) { return matches_resource(r, request); });
}

bool matches_url(std::string_view wanted, std::string_view path) {
  if (!wanted.ends_with('*')) return wanted == path;
  wanted.remove_suffix(1);
  return path.starts_with(wanted);
}

// Reads one member after the other; the first thing that is wrong stays.
class Reader {
 public:
  Result<Policy> policy(const json::Value& document) {
    Policy out;
    if (!document.is_object()) return fail(Code::kInvalidArgument, "not an object");
    members(document, "", {"apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"});
    if (std::string_view version = json::get_string(document, {"apiVersion"}); version != "audit.k8s.io/v1") wrong("apiVersion", version, {"audit.k8s.io/v1"});
    if (std::string_view kind = json::get_string(document, {"kind"}); kind != "Policy") wrong("kind", kind, {"Policy"});
    out.omitted_stages = stages(document, "omitStages");
    out.omit_managed_fields = flag(document, "omitManagedFields").value_or(false);
    const json::Array* rules = array(document, "rules", "rules");
    if (rules == nullptr || rules->empty()) refuse("rules: at least one is needed");
    else if (rules->size() > kPolicyRulesMax) refuse(cat("rules: at most ", kPolicyRulesMax));
    for (std::size_t i = 0; !error_ && i < rules->size(); ++i) out.rules.push_back(rule((*rules)[i], cat("rules[", i, "]")));
    if (error_) return fail(Code::kInvalidArgument, *error_);
    return out;
  }

 private:
  void refuse(std::string why) {
    if (!error_) error_ = std::move(why);
  }
  void wrong(std::string_view path, std::string_view value, std::span<const std::string_view> supported) {
    std::string text = cat(path, ": unsupported value \"", value, "\": supported values: ");
    for (std::string_view one : supported) text += cat(one == supported.front() ? "" : ", ", one);
    refuse(std::move(text));
  }
  void wrong(std::string_view path, std::string_view value, Names supported) { wrong(path, value, std::span(supported.begin(), supported.size())); }

  bool members(const json::Value& value, const std::string& path, Names known) {
    if (!value.is_object()) {
      refuse(cat(path, ": not an object"));
      return false;
    }
    for (const auto& [name, member] : value.get_object())
      if (std::ranges::find(known, std::string_view(name)) == known.end()) refuse(cat(path, path.empty() ? "" : ".", std::string_view(name), ": unknown field"));
    return !error_;
  }
  const json::Array* array(const json::Value& in, std::string_view name, const std::string& path) {
    const json::Value* value = json::find(in, {name});
    if (value == nullptr || value->is_null()) return nullptr;
    if (!value->is_array()) refuse(cat(path, ": not a list"));
    return value->if_array();
  }
  std::vector<std::string> strings(const json::Value& in, std::string_view name, const std::string& parent) {
    std::vector<std::string> out;
    std::string path = cat(parent, parent.empty() ? "" : ".", name);
    if (const json::Array* list = array(in, name, path))
      for (const json::Value& value : *list) {
        if (!value.is_string()) refuse(cat(path, '[', out.size(), "]: not a string"));
        else out.emplace_back(value.get_string());
      }
    return out;
  }
  std::optional<bool> flag(const json::Value& in, std::string_view name) {
    const json::Value* value = json::find(in, {name});
    if (value == nullptr || value->is_null()) return std::nullopt;
    if (!value->is_bool()) refuse(cat(name, ": not true or false"));
    return value->is_bool() && value->get_bool();
  }
  unsigned stages(const json::Value& in, const std::string& name, const std::string& parent = "") {
    unsigned out = 0;
    for (const std::string& stage : strings(in, name, parent)) {
      const auto* at = std::ranges::find(kStages, stage);
      if (at == std::end(kStages)) wrong(cat(parent, parent.empty() ? "" : ".", name), stage, kStages);
      else out |= 1U << (at - kStages);
    }
    return out;
  }

  GroupResources group(const json::Value& in, const std::string& path) {
    GroupResources out;
    if (!members(in, path, {"group", "resources", "resourceNames"})) return out;
    out.group = json::get_string(in, {"group"});
    out.resources = strings(in, "resources", path);
    out.names = strings(in, "resourceNames", path);
    if (out.group.find('/') != std::string::npos) refuse(cat(path, ".group: \"", out.group, "\" names a version: only the group goes here"));
    if (!out.names.empty() && out.resources.empty()) refuse(cat(path, ".resourceNames: needs at least one resource"));
    for (const std::string& resource : out.resources) {
      auto [name, sub] = split_once(resource, '/');
      bool fine = !name.empty() && (!sub || (!sub->empty() && sub->find('/') == std::string_view::npos)) && resource != "*/*";
      for (std::string_view part : {name, sub.value_or("")}) fine = fine && (part == "*" || part.find('*') == std::string_view::npos);
      if (!fine) refuse(cat(path, ".resources: \"", resource, "\" is neither resource, resource/subresource, */subresource, resource/* nor *"));
    }
    return out;
  }

  Rule rule(const json::Value& in, const std::string& path) {
    Rule out;
    if (!members(in, path, {"level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages", "omitManagedFields"})) return out;
    std::string_view level = json::get_string(in, {"level"});
    const auto* at = std::ranges::find(kLevels, level);
    if (at == std::end(kLevels)) wrong(cat(path, ".level"), level, kLevels);
    else out.level = static_cast<Level>(at - kLevels);
    out.users = strings(in, "users", path);
    out.groups = strings(in, "userGroups", path);
    out.verbs = strings(in, "verbs", path);
    out.namespaces = strings(in, "namespaces", path);
    out.urls = strings(in, "nonResourceURLs", path);
    out.omitted_stages = stages(in, "omitStages", path);
    out.omit_managed_fields = flag(in, "omitManagedFields");
    if (const json::Array* list = array(in, "resources", cat(path, ".resources")))
      for (const json::Value& value : *list) out.resources.push_back(group(value, cat(path, ".resources[", out.resources.size(), ']')));
    for (const std::string& url : out.urls) {
      bool fine = url == "*" || (url.starts_with('/') && url.find('*') >= url.size() - 1);
      if (!fine) refuse(cat(path, ".nonResourceURLs: \"", url, "\" must begin with \"/\" and may hold \"*\" at its end only, or be \"*\""));
    }
    if (!out.urls.empty() && !(out.resources.empty() && out.namespaces.empty()))
      refuse(cat(path, ".nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs"));
    return out;
  }

  std::optional<std::string> error_;
};

}  // namespace

std::string_view name_of(Level level) { return kLevels[static_cast<std::size_t>(level)]; }
std::string_view name_of(Stage stage) { return kStages[static_cast<std::size_t>(stage)]; }

bool Rule::matches(const Attributes& request) const {
  if (!users.empty() && !holds(users, request.user.name)) return false;
  if (!groups.empty() && !std::ranges::any_of(request.user.groups, [this](const std::string& g) { return holds(groups, g); })) return false;
  if (!verbs.empty() && !holds(verbs, request.verb)) return false;
  if (!namespaces.empty() || !resources.empty()) {
    if (!request.is_resource || (!namespaces.empty() && !holds(namespaces, request.ns))) return false;
    return resources.empty() || std::ranges::any_of(resources, [&request](const GroupResources& g) { return matches_group(g, request); });
  }
  if (urls.empty()) return true;
  return !request.is_resource && std::ranges::any_of(urls, [&request](const std::string& url) { return matches_url(url, request.path); });
}

Verdict Policy::judge(const Attributes& request) const {
  for (const Rule& rule : rules)
    if (rule.matches(request)) return {rule.level, omitted_stages | rule.omitted_stages, rule.omit_managed_fields.value_or(omit_managed_fields)};
  return {Level::kNone, omitted_stages, omit_managed_fields};
}

Result<Policy> parse_policy(std::string_view text) {
  TRY_ASSIGN(json::Value document, yaml::parse(text, {.bytes_max = kPolicyBytesMax}));
  return Reader().policy(document);
}

}  // namespace monopod::api::audit
