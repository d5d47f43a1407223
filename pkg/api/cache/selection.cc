#include "api/cache/selection.h"

#include <algorithm>

#include "api/kinds/kinds.h"
#include "api/scan.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

bool has_value(const LabelRequirement& requirement, std::string_view value) {
  return std::find(requirement.values.begin(), requirement.values.end(), value) != requirement.values.end();
}

bool matches_label(const LabelRequirement& requirement, std::optional<std::string_view> value) {
  switch (requirement.op) {
    case LabelOperator::kEquals:
    case LabelOperator::kIn: return value && has_value(requirement, *value);
    case LabelOperator::kNotEquals:
    case LabelOperator::kNotIn: return !value || !has_value(requirement, *value);
    case LabelOperator::kExists: return value.has_value();
    case LabelOperator::kDoesNotExist: return !value;
    case LabelOperator::kGreaterThan:
    case LabelOperator::kLessThan: {
      if (!value || requirement.values.empty()) return false;
      auto left = parse_int<std::int64_t>(*value), right = parse_int<std::int64_t>(requirement.values.front());
      if (!left || !right) return false;
      return requirement.op == LabelOperator::kGreaterThan ? *left > *right : *left < *right;
    }
  }
  return false;
}

bool is_event(const Resource& resource) { return resource.kind() == "Event" && !resource.is_custom; }

std::string field_value(const Resource& resource, const Object& object, const std::string& field) {
  if (field == "metadata.name") return std::string(object.name());
  if (field == "metadata.namespace") return std::string(object.ns());
  std::vector<std::string_view> cached = cached_fields(resource);
  if (std::find(cached.begin(), cached.end(), field) != cached.end()) return std::string(object.field(field));
  if (is_event(resource) && field.starts_with("regarding.")) return scan_text(scan_path(*object.json(), cat("involvedObject.", field.substr(10))));
  if (is_event(resource) && (field.starts_with("involvedObject.") || field == "type" || field == "reason"))
    return scan_text(scan_path(*object.json(), field));
  return selectable_value(object.tree(), resource, field);
}

}  // namespace

std::vector<std::string_view> cached_fields(const Resource& resource) {
  if (!resource.group().empty()) return {};
  if (resource.plural() == "pods") return {"spec.nodeName", "status.phase"};
  if (resource.plural() == "secrets") return {"type"};
  return {};
}

bool Selection::matches(const Object& object) const {
  if (!ns.empty() && object.ns() != ns) return false;
  if (!name.empty() && object.name() != name) return false;
  for (const LabelRequirement& requirement : labels.requirements())
    if (!matches_label(requirement, object.label(requirement.key))) return false;
  for (const FieldRequirement& requirement : fields.requirements()) {
    if (requirement.equal && requirement.field == "metadata.name" && requirement.value == name) continue;  // what name says
    if ((field_value(*resource, object, requirement.field) == requirement.value) != requirement.equal) return false;
  }
  return true;
}

Outcome<Selection> make_selection(const Resource& resource, std::string ns, const std::string& label_selector,
                                  const std::string& field_selector) {
  Selection out;
  out.resource = &resource;
  out.ns = std::move(ns);
  if (!label_selector.empty()) {
    auto labels = parse_label_selector(label_selector);
    constexpr std::string_view kPrefix = "unable to parse requirement: ";
    if (!labels) return refuse(bad_request(cat(labels.error().message().starts_with(kPrefix) ? "" : kPrefix, labels.error().message())));
    out.labels = std::move(*labels);
  }
  if (!field_selector.empty()) {
    auto fields = parse_field_selector(field_selector);
    if (!fields) return refuse(bad_request(fields.error().message()));
    for (const FieldRequirement& requirement : fields->requirements())
      if (!is_selectable(resource, requirement.field))
        return refuse(bad_request(selectable_fields(resource).empty()
                                      ? cat('"', requirement.field, "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                                      : cat("field label not supported: ", requirement.field)));
    if (const std::string* pinned = fields->find_equal("metadata.name")) out.name = *pinned;
    out.fields = std::move(*fields);
  }
  return out;
}

}  // namespace monopod::api
