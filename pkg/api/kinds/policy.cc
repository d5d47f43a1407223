// What bounds how many pods there are: PodDisruptionBudget, HorizontalPodAutoscaler, LimitRange.
#include <limits>
#include <set>

#include "api/kinds/behaviors.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

// Quantities of one limit by resource: find(limit, "max", "cpu").
std::optional<Quantity> quantity_of(const Value& limit, std::string_view bound, std::string_view resource) {
  const Value* list = child(limit, bound);
  auto parsed = list == nullptr ? fail(Code::kNotFound, "") : parse_quantity(text(*list, resource));
  return parsed ? std::optional<Quantity>(*parsed) : std::nullopt;
}

struct Order {
  std::string_view low, low_name, high, high_name;
  bool reports_high;  // whose field and value the error names
};
// As upstream says them: "default value 2 is greater than max value 1".
constexpr Order kOrders[] = {{"min", "min value", "max", "max value", false},
                             {"min", "min value", "defaultRequest", "default request value", true},
                             {"defaultRequest", "default request value", "max", "max value", false},
                             {"defaultRequest", "default request value", "default", "default limit value", false},
                             {"min", "min value", "default", "default value", true},
                             {"default", "default value", "max", "max value", false}};

void check_order(const Value& limit, const Path& path, FieldErrors& errors) {
  for (const Order& order : kOrders) {
    const Value* low = child(limit, order.low);
    if (low == nullptr || !low->is_object()) continue;
    for (auto& m : low->get_object()) {
      std::string_view resource = m.key();
      auto a = quantity_of(limit, order.low, resource), b = quantity_of(limit, order.high, resource);
      if (!a || !b || !(*a > *b)) continue;
      std::string_view field = order.reports_high ? order.high : order.low;
      errors.invalid(path[field].key(resource), (order.reports_high ? b : a)->text(), cat(order.low_name, " ", a->text(), " is greater than ", order.high_name, " ", b->text()));
    }
  }
}

void check_target(const Value& target, const Path& path, FieldErrors& errors) {
  bool value = child(target, "value") != nullptr, average = child(target, "averageValue") != nullptr, utilization = child(target, "averageUtilization") != nullptr;
  if (!value && !average && !utilization) errors.required(path["averageUtilization"], "must set either a target raw value or a target utilization");
  if (average && utilization) errors.forbidden(path["averageValue"], "may not set both a target raw value and a target utilization");
  if (utilization && json::get_int(target, {"averageUtilization"}) < 1) errors.invalid(path["averageUtilization"], *child(target, "averageUtilization"), "must be greater than 0");
}
void check_bounds(const Value& at, std::string_view member, std::int64_t least, std::int64_t most, std::string_view too_small, const Path& path, FieldErrors& errors) {
  const Value* given = child(at, member);
  if (given == nullptr || !given->is_int64()) return;
  if (given->get_int64() < least) errors.invalid(path[member], *given, too_small);
  else if (given->get_int64() > most) errors.invalid(path[member], *given, cat("must be less than or equal to ", most));
}

void check_scaling_rules(const Value& rules, const Path& path, FieldErrors& errors) {
  constexpr std::int64_t kWindowMax = 3600, kPeriodMax = 1800, kCountMax = std::numeric_limits<std::int32_t>::max();
  check_bounds(rules, "stabilizationWindowSeconds", 0, kWindowMax, "must be greater than or equal to zero", path, errors);
  if (const Value* select = child(rules, "selectPolicy"); select != nullptr && text(rules, "selectPolicy") != "Max" && text(rules, "selectPolicy") != "Min" && text(rules, "selectPolicy") != "Disabled")
    errors.not_supported(path["selectPolicy"], *select, {"Disabled", "Max", "Min"});
  const Array& policies = items(rules, "policies");
  if (policies.empty()) errors.required(path["policies"], "must specify at least one Policy");
  for (std::size_t i = 0; i < policies.size(); ++i) {
    Path at = path["policies"][i];
    if (text(policies[i], "type") != "Pods" && text(policies[i], "type") != "Percent") errors.not_supported(at["type"], Value(text(policies[i], "type")), {"Percent", "Pods"});
    check_bounds(policies[i], "value", 1, kCountMax, "must be greater than zero", at, errors);
    check_bounds(policies[i], "periodSeconds", 1, kPeriodMax, "must be greater than zero", at, errors);
  }
}

}  // namespace

void validate_disruption_budget(const Value& object, FieldErrors& errors) {
  const Value* spec = child(object, "spec");
  if (spec != nullptr && child(*spec, "minAvailable") != nullptr && child(*spec, "maxUnavailable") != nullptr)
    errors.invalid(Path("spec"), *spec, "minAvailable and maxUnavailable cannot be both set");
}

void validate_horizontal_autoscaler(const Value& object, FieldErrors& errors) {
  static const Value kNone{Object()};
  const Value& spec = child(object, "spec") == nullptr ? kNone : *child(object, "spec");
  Path path("spec");
  std::int64_t least = json::get_int(spec, {"minReplicas"}, 1), most = json::get_int(spec, {"maxReplicas"});
  if (least < 1) errors.invalid(path["minReplicas"], Value(least), "must be greater than or equal to 1");
  if (most < 1) errors.invalid(path["maxReplicas"], Value(most), "must be greater than 0");
  if (most < least) errors.invalid(path["maxReplicas"], Value(most), "must be greater than or equal to `minReplicas`");
  for (std::string_view member : {"kind", "name"})
    if (child(spec, "scaleTargetRef") == nullptr || text(*child(spec, "scaleTargetRef"), member).empty()) errors.required(path["scaleTargetRef"][member]);
  const Array& metrics = items(spec, "metrics");
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    Path at = path["metrics"][i];
    for (std::string_view source : {"resource", "containerResource"})
      if (const Value* metric = child(metrics[i], source); metric != nullptr && child(*metric, "target") != nullptr) check_target(*child(*metric, "target"), at[source]["target"], errors);
    if (text(metrics[i], "type") == "Resource" && child(metrics[i], "resource") == nullptr) errors.required(at["resource"], "must populate information for the given metric source");
  }
  if (const Value* behavior = child(spec, "behavior"))
    for (std::string_view direction : {"scaleUp", "scaleDown"})
      if (const Value* rules = child(*behavior, direction)) check_scaling_rules(*rules, path["behavior"][direction], errors);
}

void default_limit_range(Value& object) {
  Value* limits = json::find(object, {"spec", "limits"});
  if (limits == nullptr || !limits->is_array()) return;
  for (Value& limit : limits->get_array()) {
    if (text(limit, "type") != "Container") continue;
    // What is not said follows from what is: the default from the maximum, the default request from the default, then from the minimum.
    for (auto [to, from] : {std::pair{"default", "max"}, {"defaultRequest", "default"}, {"defaultRequest", "min"}}) {
      const Value* source = child(limit, from);
      if (source == nullptr || !source->is_object()) continue;
      Object copy = source->get_object();
      Value& target = json::at_path(limit, {to});
      if (!target.is_object()) target.emplace_object();
      for (auto& m : copy)
        if (!target.get_object().contains(m.key())) target.get_object()[m.key()] = m.value();
    }
  }
}

void validate_limit_range(const Value& object, FieldErrors& errors) {
  static const Value kNone{Object()};
  const Array& limits = items(child(object, "spec") == nullptr ? kNone : *child(object, "spec"), "limits");
  std::set<std::string_view> types;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    Path at = Path("spec")["limits"][i];
    std::string_view type = text(limits[i], "type");
    if (!types.insert(type).second) errors.duplicate(at["type"], Value(type));
    if (type == "Pod")
      for (std::string_view member : {"default", "defaultRequest"})
        if (const Value* v = child(limits[i], member); v != nullptr && v->is_object() && !v->get_object().empty()) errors.forbidden(at[member], "may not be specified when `type` is 'Pod'");
    check_order(limits[i], at, errors);
  }
}

}  // namespace monopod::api::kinds
