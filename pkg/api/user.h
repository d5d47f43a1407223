// Who asks: what authentication found out and authorisation decides on.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace monopod::api {

struct UserInfo {
  std::string name;  // "system:serviceaccount:kube-system:default", "admin"
  std::string uid;
  std::vector<std::string> groups;  // "system:masters", "system:authenticated"
  std::map<std::string, std::vector<std::string>> extra;

  bool in_group(std::string_view group) const {
    for (const auto& g : groups)
      if (g == group) return true;
    return false;
  }
};

// The identity of the node's own parts: member of system:masters, so nothing is refused.
inline UserInfo system_user(std::string name) { return {std::move(name), {}, {"system:masters", "system:authenticated"}, {}}; }

}  // namespace monopod::api
