// One write against one quota: what it would take, and whether that is there. Pure; the texts are upstream's.
#pragma once

#include <expected>

#include "api/quota/usage.h"

namespace monopod::api {

struct QuotaView {
  std::string name;
  Amounts hard;  // of the status: what the controller has seen
  Amounts used;
  std::vector<QuotaScope> scopes;
};
QuotaView view_quota(const json::Value& quota);

struct QuotaDemand {
  const Resource& resource;
  const json::Value& object;
  const json::Value* old = nullptr;  // null on create
  WallTime now;
};

// What the write takes beyond what it has, of the names that the quota limits; nothing where the quota is not about it.
// The error is why it is refused whatever the amounts: "failed quota: …", "status unknown for quota: …".
std::expected<Amounts, std::string> demand_on(const QuotaView& quota, const QuotaDemand& demand);

// "" or "exceeded quota: …".
std::string find_excess(const QuotaView& quota, const Amounts& requested);

}  // namespace monopod::api
