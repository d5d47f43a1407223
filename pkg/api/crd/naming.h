// May a definition have the names it asks for: within a group no two kinds share a plural, singular, short name, kind or list kind.
#pragma once

#include <map>
#include <string>

#include "api/crd/definition.h"

namespace monopod::api::crd {

// The accepted names of the other definitions of its group, by definition.
using AcceptedNames = std::map<std::string, json::Value, std::less<>>;

struct NamingDecision {
  json::Value accepted;  // status.acceptedNames as it will be: what was accepted before stays where the new name is taken
  bool all = false;
  Condition condition;   // NamesAccepted; message lives in `message`
  std::string message;
};
NamingDecision decide_names(const json::Value& definition, const AcceptedNames& others);

// Puts the decision into status. True where that changed it. Established follows: once true it stays.
bool apply_naming(json::Value& definition, const NamingDecision& decision, WallTime now);

}  // namespace monopod::api::crd
