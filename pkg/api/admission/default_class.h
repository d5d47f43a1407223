// The class that its annotation makes the default. Of several the youngest, then the first by name, as upstream chooses.
#pragma once

#include <initializer_list>
#include <string>

#include "api/cache/watch_cache.h"

namespace monopod::api {

// Empty where no class is the default.
inline std::string default_class(const WatchCache& classes, std::initializer_list<std::string_view> annotations) {
  std::string chosen, youngest;
  for (const ObjectPtr& one : classes.objects()) {  // in the order of their names
    if (one->json()->find("is-default-class") == std::string::npos) continue;
    json::Value tree = one->tree();
    bool is_default = false;
    for (std::string_view annotation : annotations) is_default = is_default || json::get_string(tree, {"metadata", "annotations", annotation}) == "true";
    std::string_view made = json::get_string(tree, {"metadata", "creationTimestamp"});
    if (!is_default || (!chosen.empty() && made <= youngest)) continue;
    chosen = one->name();
    youngest = made;
  }
  return chosen;
}

}  // namespace monopod::api
