// FlowSchemas and PriorityLevelConfigurations: upstream's pkg/apis/flowcontrol/validation.
#include <algorithm>
#include <cmath>

#include "api/flow/control.h"
#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

constexpr std::int64_t kPrecedenceMax = 10'000;
constexpr std::int64_t kQueuesMax = 10'000'000;
constexpr int kHashBits = 60;

const Value& value_or_empty(const Value* value) {
  static const Value kEmpty = Object();
  return value == nullptr ? kEmpty : *value;
}

struct SubjectRow {
  std::string_view kind, member;
};
constexpr SubjectRow kSubjects[] = {{"User", "user"}, {"Group", "group"}, {"ServiceAccount", "serviceAccount"}};

void validate_subject(const Value& subject, const Path& path, FieldErrors& errors) {
  std::string_view kind = text(subject, "kind");
  if (std::ranges::find(kSubjects, kind, &SubjectRow::kind) == std::end(kSubjects)) return errors.not_supported(path["kind"], Value(kind), {"Group", "ServiceAccount", "User"});
  for (const SubjectRow& row : kSubjects) {
    const Value* said = child(subject, row.member);
    Path at = path[row.member];
    if (row.kind != kind) {
      if (said != nullptr) errors.forbidden(at, cat(row.member, " is forbidden when subject kind is not '", row.kind, "'"));
    } else if (said == nullptr) {
      errors.required(at, cat(row.member, " is required when subject kind is '", row.kind, "'"));
    } else {
      std::string_view name = text(*said, "name");
      if (name.empty()) errors.required(at["name"]);
      if (row.kind != "ServiceAccount") continue;
      if (!name.empty() && name != "*") report(errors, at["name"], name, check_dns1123_subdomain(name));
      std::string_view ns = text(*said, "namespace");
      if (ns.empty()) errors.required(at["namespace"], "must specify namespace for service account");
      else report(errors, at["namespace"], ns, check_dns1123_label(ns));
    }
  }
}

// A list that must not be empty, and where "*" stands alone.
bool validate_list(const Value& rule, std::string_view member, const Path& path, std::string_view empty, std::string_view others, FieldErrors& errors) {
  const Array& list = items(rule, member);
  bool all = std::ranges::any_of(list, [](const Value& v) { return v.is_string() && v.get_string() == "*"; });
  if (list.empty()) {
    if (!empty.empty()) errors.required(path[member], empty);
  } else if (all && list.size() > 1) {
    errors.invalid(path[member], Value(list), cat("if '*' is present, must not specify other ", others));
  }
  return !all;
}

void validate_verbs(const Value& rule, const Path& path, FieldErrors& errors) {
  const std::initializer_list<std::string_view> kVerbs = {"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"};
  if (!validate_list(rule, "verbs", path, "verbs must contain at least one value", "verbs", errors)) return;
  const Array& verbs = items(rule, "verbs");
  if (std::ranges::any_of(verbs, [&](const Value& v) { return !v.is_string() || std::ranges::find(kVerbs, std::string_view(v.get_string())) == kVerbs.end(); }))
    errors.not_supported(path["verbs"], Value(verbs), kVerbs);
}

void validate_resource_rule(const Value& rule, const Path& path, FieldErrors& errors) {
  validate_verbs(rule, path, errors);
  validate_list(rule, "apiGroups", path, "resource rules must supply at least one api group", "api groups", errors);
  validate_list(rule, "resources", path, "resource rules must supply at least one resource", "resources", errors);
  bool cluster = json::get_bool(rule, {"clusterScope"});
  if (!validate_list(rule, "namespaces", path, cluster ? "" : "resource rules that are not cluster scoped must supply at least one namespace", "namespaces", errors)) return;
  const Array& spaces = items(rule, "namespaces");
  for (std::size_t i = 0; i < spaces.size(); ++i) {
    std::string_view ns = spaces[i].is_string() ? std::string_view(spaces[i].get_string()) : std::string_view();
    for (const std::string& message : check_dns1123_label(ns)) errors.invalid(path["namespaces"][i], ns, cat("each member of this list must be '*' or a DNS-1123 label; ", message));
  }
}

void validate_path_rule(const Value& rule, const Path& path, FieldErrors& errors) {
  validate_verbs(rule, path, errors);
  if (!validate_list(rule, "nonResourceURLs", path, "nonResourceURLs must contain at least one value", "non-resource URLs", errors)) return;
  const Array& urls = items(rule, "nonResourceURLs");
  for (std::size_t i = 0; i < urls.size(); ++i) {
    std::string_view url = urls[i].is_string() ? std::string_view(urls[i].get_string()) : std::string_view();
    Path at = path["nonResourceURLs"][i];
    if (url.empty()) errors.invalid(at, url, "must not be empty");
    else if (!url.starts_with('/')) errors.invalid(at, url, "must start with slash");
    else if (url.find(' ') != std::string_view::npos) errors.invalid(at, url, "must not contain white-space");
    else if (url.find("//") != std::string_view::npos) errors.invalid(at, url, "must not contain double slash");
    else if (std::size_t star = url.find('*'); star != std::string_view::npos && (star != url.size() - 1 || url[star - 1] != '/')) errors.invalid(at, url, star != url.size() - 1 ? "wildcard can only do suffix matching" : "wildcard must follow a slash");
  }
}

// What must stay as it was made.
void check_fixed(const Value& object, const std::vector<Value>& made, FieldErrors& errors) {
  std::string_view name = json::get_string(object, {"metadata", "name"});
  bool mandatory = name == "exempt" || name == "catch-all";
  if (!mandatory) return;
  for (const Value& one : made) {
    if (json::get_string(one, {"metadata", "name"}) != name) continue;
    Value wanted = one;
    if (const Resource* resource = find_resource_of_kind("flowcontrol.apiserver.k8s.io", "v1", text(object, "kind"))) set_defaults(wanted, *resource);
    Value is = value_or_empty(child(object, "spec")), must = value_or_empty(child(wanted, "spec"));
    if (name == "exempt" && is.is_object()) {  // an exempt level may be given shares
      is.get_object().erase("exempt");
      must.get_object().erase("exempt");
    }
    if (is != must) errors.invalid(Path("spec"), value_or_empty(child(object, "spec")), cat("spec of '", name, "' must equal the fixed value"));
  }
}

void check_percent(const Value& of, const Path& path, FieldErrors& errors) {
  const Value* percent = child(of, "lendablePercent");
  if (percent != nullptr && percent->is_int64() && (percent->get_int64() < 0 || percent->get_int64() > 100)) errors.invalid(path["lendablePercent"], *percent, "must be between 0 and 100, inclusive");
}
void check_shares(const Value& of, const Path& path, FieldErrors& errors) {
  const Value* shares = child(of, "nominalConcurrencyShares");
  if (shares != nullptr && shares->is_int64() && shares->get_int64() < 0) errors.invalid(path["nominalConcurrencyShares"], *shares, "must be a non-negative integer");
}

// How many bits of a hash it takes to deal a hand: k8s.io/apiserver's shufflesharding.RequiredEntropyBits.
int entropy_bits(std::int64_t deck, std::int64_t hand) {
  double bits = 0;
  for (std::int64_t i = 0; i < hand; ++i) bits += std::log2(static_cast<double>(deck - i));
  return static_cast<int>(std::ceil(bits));
}

void validate_queuing(const Value& queuing, const Path& path, FieldErrors& errors) {
  auto number = [&](std::string_view member) {
    std::int64_t n = json::get_int(queuing, {member});
    if (n <= 0) errors.invalid(path[member], Value(n), "must be positive");
    return n;
  };
  number("queueLengthLimit");
  std::int64_t queues = number("queues"), hand = number("handSize");
  if (queues > kQueuesMax) return errors.invalid(path["queues"], Value(queues), cat("must not be greater than ", kQueuesMax));
  if (queues <= 0 || hand <= 0) return;
  if (hand > queues) errors.invalid(path["handSize"], Value(hand), cat("should not be greater than queues (", queues, ")"));
  else if (int bits = entropy_bits(queues, hand); bits > kHashBits) errors.invalid(path["handSize"], Value(hand), cat("required entropy bits of deckSize ", queues, " and handSize ", hand, " should not be greater than ", kHashBits));
}

void validate_limited(const Value& limited, const Path& path, FieldErrors& errors) {
  check_shares(limited, path, errors);
  const Value& response = value_or_empty(child(limited, "limitResponse"));
  Path at = path["limitResponse"];
  std::string_view type = text(response, "type");
  const Value* queuing = child(response, "queuing");
  if (type == "Reject") {
    if (queuing != nullptr) errors.forbidden(at["queuing"], "must be nil if limited.limitResponse.type is not Limited");
  } else if (type == "Queue") {
    if (queuing == nullptr) errors.required(at["queuing"], "must not be empty if limited.limitResponse.type is Limited");
    else validate_queuing(*queuing, at["queuing"], errors);
  } else {
    errors.not_supported(at["type"], Value(type), {"Queue", "Reject"});
  }
  check_percent(limited, path, errors);
  const Value* borrow = child(limited, "borrowingLimitPercent");
  if (borrow != nullptr && borrow->is_int64() && borrow->get_int64() < 0) errors.invalid(path["borrowingLimitPercent"], *borrow, "if specified, must be a non-negative integer");
}

}  // namespace

void validate_flow_schema(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value& spec = value_or_empty(child(object, "spec"));
  std::string_view name = json::get_string(object, {"metadata", "name"});
  std::int64_t precedence = json::get_int(spec, {"matchingPrecedence"});
  if (precedence <= 0) errors.invalid(path["matchingPrecedence"], Value(precedence), "must be a positive value");
  if (precedence > kPrecedenceMax) errors.invalid(path["matchingPrecedence"], Value(precedence), cat("must not be greater than ", kPrecedenceMax));
  if (precedence == 1 && name != "exempt") errors.invalid(path["matchingPrecedence"], Value(precedence), "only the schema named 'exempt' may have matchingPrecedence 1");
  if (const Value* method = child(spec, "distinguisherMethod")) {
    std::string_view type = text(*method, "type");
    if (type != "ByUser" && type != "ByNamespace") errors.not_supported(path["distinguisherMethod"]["type"], Value(type), {"ByNamespace", "ByUser"});
  }
  std::string_view level = json::get_string(spec, {"priorityLevelConfiguration", "name"});
  if (level.empty()) errors.required(path["priorityLevelConfiguration"]["name"], "must reference a priority level");
  else report(errors, path["priorityLevelConfiguration"]["name"], level, check_dns1123_subdomain(level));
  const Array& rules = items(spec, "rules");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    Path at = path["rules"][i];
    const Array &subjects = items(rules[i], "subjects"), &resources = items(rules[i], "resourceRules"), &paths = items(rules[i], "nonResourceRules");
    if (subjects.empty()) errors.required(at["subjects"], "subjects must contain at least one value");
    for (std::size_t n = 0; n < subjects.size(); ++n) validate_subject(subjects[n], at["subjects"][n], errors);
    if (resources.empty() && paths.empty()) errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    for (std::size_t n = 0; n < resources.size(); ++n) validate_resource_rule(resources[n], at["resourceRules"][n], errors);
    for (std::size_t n = 0; n < paths.size(); ++n) validate_path_rule(paths[n], at["nonResourceRules"][n], errors);
  }
  check_fixed(object, flow::bootstrap_schemas(), errors);
}

void validate_priority_level(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value& spec = value_or_empty(child(object, "spec"));
  std::string_view name = json::get_string(object, {"metadata", "name"}), type = text(spec, "type");
  const Value *limited = child(spec, "limited"), *exempt = child(spec, "exempt");
  if ((name == "exempt") != (type == "Exempt")) errors.invalid(path["type"], type, "type must be 'Exempt' if and only if `name` is 'exempt'");
  if (type == "Exempt") {
    if (limited != nullptr) errors.forbidden(path["limited"], "must be nil if the type is not Limited");
    check_shares(value_or_empty(exempt), path["exempt"], errors);
    check_percent(value_or_empty(exempt), path["exempt"], errors);
  } else if (type == "Limited") {
    if (exempt != nullptr) errors.forbidden(path["exempt"], "must be nil if the type is Limited");
    if (limited == nullptr) errors.required(path["limited"], "must not be empty when type is Limited");
    else validate_limited(*limited, path["limited"], errors);
  } else {
    errors.not_supported(path["type"], Value(type), {"Exempt", "Limited"});
  }
  check_fixed(object, flow::bootstrap_levels(), errors);
}

}  // namespace monopod::api::kinds
