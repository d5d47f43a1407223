#include "api/quota/check.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api {

QuotaView view_quota(const json::Value& quota) {
  return {std::string(json::get_string(quota, {"metadata", "name"})), read_amounts(json::get_object(quota, {"status", "hard"})),
          read_amounts(json::get_object(quota, {"status", "used"})), scopes_of(quota)};
}

std::expected<Amounts, std::string> demand_on(const QuotaView& quota, const QuotaDemand& demand) {
  std::vector<std::string> limited = names_of(quota.hard);
  std::erase_if(limited, [&demand](const std::string& name) { return !is_counted_by(demand.resource, name); });
  if (limited.empty() || !matches_scopes(quota.scopes, demand.resource, demand.object)) return Amounts();
  if (std::string missing = missing_constraints(demand.resource, demand.object, limited); !missing.empty())
    return std::unexpected(cat("failed quota: ", quota.name, ": ", missing));
  if (!std::ranges::all_of(limited, [&quota](const std::string& name) { return quota.used.contains(name); }))
    return std::unexpected(cat("status unknown for quota: ", quota.name, ", resources: ", join(limited, ",")));
  Amounts usage = quota_usage(demand.resource, demand.object, demand.now);
  std::vector<std::string> negative = names_of(usage);
  std::erase_if(negative, [&usage](const std::string& name) { return usage.find(name)->second.sign() >= 0; });
  if (!negative.empty()) return std::unexpected(cat("quota usage is negative for resource(s): ", join(negative, ",")));
  if (demand.old != nullptr && matches_scopes(quota.scopes, demand.resource, *demand.old))
    usage = subtract_to_zero(usage, quota_usage(demand.resource, *demand.old, demand.now));
  usage = mask(usage, limited);
  std::erase_if(usage, [](const auto& one) { return one.second.sign() == 0; });
  return usage;
}

std::string find_excess(const QuotaView& quota, const Amounts& requested) {
  Amounts after = add(quota.used, requested);
  std::vector<std::string> exceeded;
  for (const auto& [name, amount] : requested)
    if (auto limit = quota.hard.find(name); limit != quota.hard.end() && after.find(name)->second > limit->second) exceeded.push_back(name);
  if (exceeded.empty()) return {};
  return cat("exceeded quota: ", quota.name, ", requested: ", format_amounts(mask(requested, exceeded)), ", used: ", format_amounts(mask(quota.used, exceeded)),
             ", limited: ", format_amounts(mask(quota.hard, exceeded)));
}

}  // namespace monopod::api
