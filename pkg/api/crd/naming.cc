#include "api/crd/naming.h"

#include <set>

#include "api/kinds/behaviors.h"
#include "api/schema/schema.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

using kinds::text;

struct InUse {
  std::set<std::string, std::less<>> resources, kinds;
};

InUse names_in_use(const AcceptedNames& others) {
  InUse out;
  auto add = [](std::set<std::string, std::less<>>& to, std::string_view name) {
    if (!name.empty()) to.emplace(name);
  };
  for (const auto& [definition, names] : others) {
    add(out.resources, text(names, "plural"));
    add(out.resources, text(names, "singular"));
    for (const json::Value& one : kinds::items(names, "shortNames"))
      if (one.is_string()) add(out.resources, one.get_string());
    add(out.kinds, text(names, "kind"));
    add(out.kinds, text(names, "listKind"));
  }
  return out;
}

}  // namespace

NamingDecision decide_names(const json::Value& definition, const AcceptedNames& others) {
  InUse used = names_in_use(others);
  NamingDecision out;
  out.condition = {"NamesAccepted", "True", "NoConflicts", {}};
  out.message = "no conflicts found";
  auto conflict = [&out](std::string_view reason, std::string message) {
    out.condition.status = "False";
    out.condition.reason = reason;
    out.message = std::move(message);
  };
  static const json::Value kNone(json::Object{});
  const json::Value* wanted = json::find(definition, {"spec", "names"});
  const json::Value* before = json::find(definition, {"status", "acceptedNames"});
  if (wanted == nullptr) wanted = &kNone;
  out.accepted = before == nullptr ? kNone : *before;
  json::Object& accepted = out.accepted.get_object();

  auto one = [&](const char* member, const std::set<std::string, std::less<>>& taken, std::string_view reason) {
    std::string_view name = text(*wanted, member);
    if (name == text(out.accepted, member) || !taken.contains(name)) accepted[member] = name;
    else conflict(reason, cat("\"", name, "\" is already in use"));
  };
  one("plural", used.resources, "PluralConflict");
  one("singular", used.resources, "SingularConflict");
  std::vector<std::string> taken;
  const json::Array& old_short = kinds::items(out.accepted, "shortNames");
  for (const json::Value& name : kinds::items(*wanted, "shortNames"))
    if (name.is_string() && used.resources.contains(std::string_view(name.get_string())) && std::find(old_short.begin(), old_short.end(), name) == old_short.end())
      taken.push_back(cat("\"", std::string_view(name.get_string()), "\" is already in use"));
  if (!taken.empty()) conflict("ShortNamesConflict", taken.size() == 1 ? taken[0] : cat("[", join(taken, ", "), "]"));
  else if (const json::Value* names = wanted->get_object().if_contains("shortNames")) accepted["shortNames"] = *names;
  else accepted.erase("shortNames");
  one("kind", used.kinds, "KindConflict");
  one("listKind", used.kinds, "ListKindConflict");
  if (const json::Value* categories = wanted->get_object().if_contains("categories")) accepted["categories"] = *categories;
  else accepted.erase("categories");

  // A group of the server's own cannot be extended here: its paths are the tables'.
  std::string_view group = json::get_string(definition, {"spec", "group"});
  for (const Resource& row : resources())
    if (row.group() == group) {
      conflict("GroupConflict", cat("the group \"", group, "\" is served by the API server itself"));
      break;
    }
  out.all = out.condition.status == "True";
  return out;
}

bool apply_naming(json::Value& definition, const NamingDecision& decision, WallTime now) {
  bool changed = false;
  json::Value& accepted = json::at_path(definition, {"status", "acceptedNames"});
  if (accepted != decision.accepted) {
    accepted = decision.accepted;
    changed = true;
  }
  Condition names = decision.condition;
  names.message = decision.message;
  changed |= set_condition(definition, names, now);
  if (is_protected(json::get_string(definition, {"spec", "group"}))) {
    std::string approval(json::get_string(definition, {"metadata", "annotations", kApproval}));
    bool approved = !approval.starts_with("unapproved");
    std::string message = approved ? cat("approved in ", approval) : cat("not approved: \"", approval, "\"");
    changed |= set_condition(definition, {"KubernetesAPIApprovalPolicyConformant", approved ? "True" : "False", approved ? "ApprovedAnnotation" : "UnapprovedAnnotation", message}, now);
  }
  if (condition_status(definition, "Established") == "True") return changed;
  if (decision.all) return set_condition(definition, {"Established", "True", "InitialNamesAccepted", "the initial names have been accepted"}, now) || changed;
  return set_condition(definition, {"Established", "False", "NotAccepted", "not all names are accepted"}, now) || changed;
}

}  // namespace monopod::api::crd
