// What an object takes from a namespace's ResourceQuotas, as pure functions over its tree (kubernetes.io/docs/concepts/policy/resource-quotas):
// resource names as quotas spell them ("pods", "requests.cpu", "count/deployments.apps") to amounts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/quantity/quantity.h"
#include "api/schema/schema.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::api {

using Amounts = std::map<std::string, Quantity, std::less<>>;

// A map of quantities as objects hold it; what cannot be read is left out. null: empty.
Amounts read_amounts(const json::Object* map);
json::Object write_amounts(const Amounts& amounts);
Amounts add(Amounts a, const Amounts& b);
// a - b, nothing below zero: what an update takes beyond what it took before.
Amounts subtract_to_zero(const Amounts& a, const Amounts& b);
// Only these names.
Amounts mask(const Amounts& amounts, const std::vector<std::string>& names);
std::vector<std::string> names_of(const Amounts& amounts);
// "cpu=1,memory=2Gi", in the order of names.
std::string format_amounts(const Amounts& amounts);

// "count/<plural>[.<group>]".
std::string count_name(const Resource& resource);
// Events are never counted; nothing outside of namespaces is.
bool is_quotable(const Resource& resource);
// True where objects of this resource are counted under that name.
bool is_counted_by(const Resource& resource, std::string_view quota_name);
// What one object takes. now: a pod that is past its grace takes nothing but its count.
Amounts quota_usage(const Resource& resource, const json::Value& object, WallTime now);
// "" or "must specify limits.cpu for: a,b; requests.memory for: a": a quota on cpu or memory demands them of every container.
std::string missing_constraints(const Resource& resource, const json::Value& object, const std::vector<std::string>& required);

// pod_usage.cc
bool pod_is_counted_by(std::string_view quota_name);
Amounts pod_quota_usage(const json::Value& pod, WallTime now);
std::string missing_pod_constraints(const json::Value& pod, const std::vector<std::string>& required);

// One requirement of spec.scopes or spec.scopeSelector.
struct QuotaScope {
  std::string name;
  std::string op;  // "In", "NotIn", "Exists", "DoesNotExist"
  std::vector<std::string> values;
};
std::vector<QuotaScope> scopes_of(const json::Value& quota);
// The one scope that a pod may change: its activeDeadlineSeconds can be set later.
bool is_terminating(const json::Value& pod);
// All of them: only pods match a scope, every object matches none.
bool matches_scopes(const std::vector<QuotaScope>& scopes, const Resource& resource, const json::Value& object);

}  // namespace monopod::api
