// What a job says about pods that end: its failure policy, its success policy, limits of indexes. In upstream's words.
#include <algorithm>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

constexpr std::size_t kRulesMax = 20;         // of a policy
constexpr std::size_t kExitCodesMax = 255;    // of a rule
constexpr std::size_t kConditionsMax = 20;    // of a rule
constexpr std::int64_t kIndexedPodsMax = 100'000;
constexpr std::size_t kIndexesBytesMax = 64U << 10;

void check_exit_codes(const Value& codes, const Value& spec, const Path& at, FieldErrors& errors) {
  check_supported(errors, at, codes, "operator", {"In", "NotIn"});
  if (std::string_view name = text(codes, "containerName"); !name.empty()) {
    bool known = false;
    for (std::string_view list : {"containers", "initContainers"})
      if (const Value* pod = json::find(spec, {"template", "spec"}))
        for (const Value& container : items(*pod, list)) known = known || text(container, "name") == name;
    if (!known) errors.invalid(at["containerName"], name, "must be one of the container or initContainer names in the pod template");
  }
  const Array& values = items(codes, "values");
  if (values.empty()) errors.invalid(at["values"], Value(values), "at least one value is required");
  if (values.size() > kExitCodesMax) return errors.too_many(at["values"], values.size(), kExitCodesMax);
  bool in_order = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i].is_int64()) continue;
    if (values[i].get_int64() == 0 && text(codes, "operator") == "In") errors.invalid(at["values"][i], values[i], "must not be 0 for the In operator");
    if (std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) != values.begin() + static_cast<std::ptrdiff_t>(i)) errors.duplicate(at["values"][i], values[i]);
    else if (i > 0 && values[i - 1].is_int64() && values[i - 1].get_int64() > values[i].get_int64()) in_order = false;
  }
  if (!in_order) errors.invalid(at["values"], Value(values), "must be ordered");
}

void check_failure_rule(const Value& rule, const Value& spec, const Path& at, FieldErrors& errors) {
  if (text(rule, "action").empty()) errors.required(at["action"], "valid values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"");
  else check_supported(errors, at, rule, "action", {"Count", "FailIndex", "FailJob", "Ignore"});
  if (text(rule, "action") == "FailIndex" && child(spec, "backoffLimitPerIndex") == nullptr) errors.invalid(at["action"], text(rule, "action"), "requires the backoffLimitPerIndex to be set");
  const Value* codes = child(rule, "onExitCodes");
  const Array& conditions = items(rule, "onPodConditions");
  if (codes != nullptr) check_exit_codes(*codes, spec, at["onExitCodes"], errors);
  if (conditions.size() > kConditionsMax) errors.too_many(at["onPodConditions"], conditions.size(), kConditionsMax);
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    report(errors, at["onPodConditions"][i]["type"], text(conditions[i], "type"), check_qualified_name(text(conditions[i], "type")));
    check_supported(errors, at["onPodConditions"][i], conditions[i], "status", {"False", "True", "Unknown"});
  }
  if (codes != nullptr && !conditions.empty()) errors.invalid(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported");
  if (codes == nullptr && conditions.empty()) errors.invalid(at, rule, "specifying one of OnExitCodes and OnPodConditions is required");
}

// "1,3-5": in order, below completions. How many they are; none where that is not so.
std::optional<std::int64_t> count_indexes(std::string_view list, std::int64_t completions) {
  std::int64_t last = -1, count = 0;
  for (std::string_view part : split(list, ',')) {
    auto [from, to] = split_once(part, '-');
    auto first = parse_int<std::int64_t>(from), end = to ? parse_int<std::int64_t>(*to) : first;
    if (!first || !end || *first <= last || (to ? *end <= *first : false) || *end >= completions) return std::nullopt;
    count += *end - *first + 1;
    last = *end;
  }
  return count;
}

void check_success_rule(const Value& rule, std::int64_t completions, const Path& at, FieldErrors& errors) {
  const Value *indexes = child(rule, "succeededIndexes"), *count = child(rule, "succeededCount");
  if (indexes == nullptr && count == nullptr) return errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
  std::int64_t most = completions;
  if (indexes != nullptr && indexes->is_string()) {
    std::string_view list = indexes->get_string();
    if (list.size() > kIndexesBytesMax) return errors.too_long(at["succeededIndexes"], kIndexesBytesMax);
    auto counted = count_indexes(list, completions);
    if (!counted) errors.invalid(at["succeededIndexes"], list, "must be indexes or ranges of them, \"1,3-5\", in order and below completions");
    else most = *counted;
  }
  if (count == nullptr || !count->is_int64()) return;
  check_nonnegative(errors, at["succeededCount"], count);
  if (count->get_int64() > completions) errors.invalid(at["succeededCount"], *count, cat("must be less than or equal to ", completions, " (the number of specified completions)"));
  else if (count->get_int64() > most) errors.invalid(at["succeededCount"], *count, cat("must be less than or equal to ", most, " (the number of indexes in the specified succeededIndexes field)"));
}

}  // namespace

void validate_job_policies(const Value& spec, const Path& path, FieldErrors& errors) {
  const Value *completions = child(spec, "completions"), *most_failed = child(spec, "maxFailedIndexes"), *per_index = child(spec, "backoffLimitPerIndex");
  for (std::string_view n : {"backoffLimitPerIndex", "maxFailedIndexes"}) check_nonnegative(errors, path[n], child(spec, n));
  std::int64_t count = completions != nullptr && completions->is_int64() ? completions->get_int64() : 0;
  if (most_failed != nullptr && per_index == nullptr) errors.required(path["backoffLimitPerIndex"], "when maxFailedIndexes is specified");
  else if (most_failed != nullptr && most_failed->is_int64() && most_failed->get_int64() > count) errors.invalid(path["maxFailedIndexes"], *most_failed, "must be less than or equal to completions");
  if (text(spec, "completionMode") == "Indexed") {
    const Value* parallelism = child(spec, "parallelism");
    if (parallelism != nullptr && parallelism->is_int64() && parallelism->get_int64() > kIndexedPodsMax)
      errors.invalid(path["parallelism"], *parallelism, cat("must be less than or equal to ", kIndexedPodsMax, " when completion mode is Indexed"));
    if (per_index != nullptr && count > kIndexedPodsMax) errors.invalid(path["completions"], *completions, cat("must be less than or equal to ", kIndexedPodsMax, " when backoff limit per index is used"));
  }
  const Value* failure = child(spec, "podFailurePolicy");
  if (failure != nullptr) {
    Path rules = path["podFailurePolicy"]["rules"];
    const Value* policy = json::find(spec, {"template", "spec", "restartPolicy"});
    if (policy != nullptr && policy->is_string() && policy->get_string() != "Never") errors.invalid(path["template"]["spec"]["restartPolicy"], *policy, "only \"Never\" is supported when podFailurePolicy is specified");
    const Array& list = items(*failure, "rules");
    if (list.size() > kRulesMax) errors.too_many(rules, list.size(), kRulesMax);
    for (std::size_t i = 0; i < std::min(list.size(), kRulesMax); ++i) check_failure_rule(list[i], spec, rules[i], errors);
    check_supported(errors, path, spec, "podReplacementPolicy", {"Failed"});
  } else {
    check_supported(errors, path, spec, "podReplacementPolicy", {"Failed", "TerminatingOrFailed"});
  }
  if (const Value* success = child(spec, "successPolicy")) {
    Path rules = path["successPolicy"]["rules"];
    const Array& list = items(*success, "rules");
    if (list.empty()) errors.required(rules, "at least one rules must be specified in the successPolicy");
    if (list.size() > kRulesMax) errors.too_many(rules, list.size(), kRulesMax);
    for (std::size_t i = 0; i < std::min(list.size(), kRulesMax); ++i) check_success_rule(list[i], count, rules[i], errors);
  }
}

}  // namespace monopod::api::kinds
