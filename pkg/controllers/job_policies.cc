#include "controllers/job_policies.h"

#include "base/strings.h"
#include "client/meta.h"

namespace monopod::controllers {
namespace {

// The text of a match of exit codes: of the first container that ended in failure as the rule asks.
std::optional<std::string> match_exit_codes(const json::Value& wanted, const json::Value& pod) {
  const json::Array* values = json::get_array(wanted, {"values"});
  if (values == nullptr) return std::nullopt;
  std::string_view only = json::get_string(wanted, {"containerName"});
  bool listed_wanted = json::get_string(wanted, {"operator"}) == "In";
  for (std::string_view list : {"containerStatuses", "initContainerStatuses"}) {
    const json::Array* statuses = json::get_array(pod, {"status", list});
    if (statuses == nullptr) continue;
    for (const json::Value& status : *statuses) {
      std::string_view name = json::get_string(status, {"name"});
      if (!only.empty() && only != name) continue;
      std::int64_t code = json::get_int(status, {"state", "terminated", "exitCode"});
      if (code == 0) continue;
      bool listed = false;
      for (const json::Value& value : *values) listed = listed || (value.is_int64() && value.get_int64() == code);
      if (listed == listed_wanted) return cat("Container ", name, " for pod ", client::namespace_of(pod), "/", client::name_of(pod), " failed with exit code ", code);
    }
  }
  return std::nullopt;
}

std::optional<std::string> match_conditions(const json::Array& patterns, const json::Value& pod) {
  for (const json::Value& pattern : patterns) {
    std::string_view type = json::get_string(pattern, {"type"});
    if (client::condition_status(pod, type) == json::get_string(pattern, {"status"}, "True"))
      return cat("Pod ", client::namespace_of(pod), "/", client::name_of(pod), " has condition ", type);
  }
  return std::nullopt;
}

}  // namespace

FailureVerdict judge_failure(const json::Value& job, const json::Value& pod) {
  const json::Array* rules = json::get_array(job, {"spec", "podFailurePolicy", "rules"});
  if (rules == nullptr) return {};
  for (std::size_t i = 0; i < rules->size(); ++i) {
    const json::Value& rule = (*rules)[i];
    std::optional<std::string> match;
    if (const json::Value* codes = json::find(rule, {"onExitCodes"})) match = match_exit_codes(*codes, pod);
    else if (const json::Array* conditions = json::get_array(rule, {"onPodConditions"})) match = match_conditions(*conditions, pod);
    if (!match) continue;
    std::string_view action = json::get_string(rule, {"action"});
    if (action == "Ignore") return {FailureAction::kIgnore, {}};
    if (action == "FailIndex") return {FailureAction::kFailIndex, {}};
    if (action == "FailJob") return {FailureAction::kFailJob, cat(*match, " matching ", action, " rule at index ", i)};
    return {};
  }
  return {};
}

std::optional<std::string> met_success_policy(const json::Value& job, const IndexSet& succeeded, std::int64_t completions) {
  const json::Array* rules = json::get_array(job, {"spec", "successPolicy", "rules"});
  if (rules == nullptr || succeeded.size() == 0) return std::nullopt;
  for (std::size_t i = 0; i < rules->size(); ++i) {
    const json::Value* named = json::find((*rules)[i], {"succeededIndexes"});
    const json::Value* count = json::find((*rules)[i], {"succeededCount"});
    std::int64_t have = succeeded.size(), need = count != nullptr && count->is_int64() ? count->get_int64() : completions;
    if (named != nullptr && named->is_string()) {
      IndexSet wanted = IndexSet::parse(std::string_view(named->get_string()), completions);
      have = succeeded.common(wanted);
      if (count == nullptr) need = wanted.size();
    }
    if (have >= need) return cat("Matched rules at index ", i);
  }
  return std::nullopt;
}

std::int64_t restarts_of(const json::Value& pod) {
  std::int64_t n = 0;
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  if (phase != "Running" && phase != "Pending") return 0;
  for (std::string_view list : {"containerStatuses", "initContainerStatuses"})
    if (const json::Array* statuses = json::get_array(pod, {"status", list}))
      for (const json::Value& status : *statuses) n += json::get_int(status, {"restartCount"});
  return n;
}

}  // namespace monopod::controllers
