#include "api/crd/columns.h"

#include <cmath>

#include "base/clock.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

// As kubectl's and upstream's JSONPath printer shows a value: text bare, the rest as JSON.
std::string shown(const json::Value& value) { return value.is_string() ? std::string(value.get_string()) : json::format(value); }

json::Value cell(const CustomColumn& column, const std::vector<const json::Value*>& found, table::Ages& ages) {
  if (found.empty()) return nullptr;
  const json::Value& first = *found.front();
  if (column.type == "integer") {
    if (first.is_int64() || first.is_uint64()) return first;
    if (first.is_double()) return static_cast<std::int64_t>(std::trunc(first.get_double()));
    return nullptr;
  }
  if (column.type == "number") return first.is_number() ? first : json::Value(nullptr);
  if (column.type == "boolean") return first.is_bool() ? first : json::Value(nullptr);
  if (column.type == "date") {
    if (!first.is_string() || first.get_string().empty() || !parse_rfc3339(first.get_string())) return first.is_string() && !first.get_string().empty() ? json::Value("<invalid>") : json::Value("<unknown>");
    return json::Value(ages.of(first.get_string()));
  }
  std::vector<std::string> parts;
  for (const json::Value* one : found)
    if (!one->is_null()) parts.push_back(shown(*one));
  return json::Value(join(parts, " "));
}

}  // namespace

std::span<const CustomColumn> columns_of(const CustomResource& resource) {
  static const std::vector<CustomColumn> kAge{{"Age", "date", "", "", 0, {PathStep{.name = "metadata"}, PathStep{.name = "creationTimestamp"}}}};
  return resource.column_rows.empty() ? std::span<const CustomColumn>(kAge) : std::span<const CustomColumn>(resource.column_rows);
}

void fill_cells(const CustomResource& resource, const json::Value& object, table::Ages& ages, json::Array& cells) {
  cells.emplace_back(json::get_string(object, {"metadata", "name"}));
  for (const CustomColumn& column : columns_of(resource)) cells.push_back(cell(column, evaluate(column.path, object), ages));
}

}  // namespace monopod::api::crd
