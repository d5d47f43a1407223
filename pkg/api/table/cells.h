// The cell logic behind table.h: one function for each kind that shows more than name and age.
#pragma once

#include "api/schema/schema.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::api::table {

// Appends the cells of one object; missing ones are filled with empty text by the caller.
void fill_cells(const Resource& resource, const json::Value& object, WallTime now, json::Array& cells);

// pod_cells.cc
void pod_cells(const json::Value& pod, WallTime now, json::Array& cells);

// "5d", "<unknown>" where the time is absent.
std::string age_of(std::string_view rfc3339, WallTime now);
std::string object_age(const json::Value& object, WallTime now);
std::string format_labels(const json::Value* labels);          // "a=b,c=d" or <none>
std::string format_selector(const json::Value* selector);      // a metav1.LabelSelector
std::string container_names(const json::Value* pod_spec);
std::string container_images(const json::Value* pod_spec);

}  // namespace monopod::api::table
