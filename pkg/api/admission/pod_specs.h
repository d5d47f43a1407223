// One visitor over all containers of a pod: a rule that looks at containers looks at every list of them (init, ephemeral).
#pragma once

#include "codec/json.h"

namespace monopod::api {

template <typename F>
void each_container(json::Value& pod, F on_container) {
  for (std::string_view member : {"containers", "initContainers", "ephemeralContainers"}) {
    json::Value* list = json::find(pod, {"spec", member});
    if (list == nullptr || !list->is_array()) continue;
    for (json::Value& container : list->as_array())
      if (container.is_object()) on_container(container, member);
  }
}

// The array at a path, made where it is missing.
inline json::Array& array_at(json::Value& root, std::initializer_list<std::string_view> path) {
  json::Value& value = json::at_path(root, path);
  if (!value.is_array()) value = json::Array();
  return value.as_array();
}

}  // namespace monopod::api
