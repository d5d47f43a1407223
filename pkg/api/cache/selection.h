// Which objects of a resource a list or watch wants.
#pragma once

#include "api/object.h"
#include "api/schema/schema.h"
#include "api/selector/selector.h"
#include "api/status.h"

namespace monopod::api {

struct Selection {
  const Resource* resource = nullptr;
  std::string ns;    // empty: all
  std::string name;  // empty: all; from metadata.name=x
  LabelSelector labels;
  FieldSelector fields;
  std::shared_ptr<const void> keep{};  // what holds the row of a custom kind

  bool selective() const { return !ns.empty() || !name.empty() || !labels.empty() || !fields.empty(); }
  bool matches(const Object& object) const;
};

// 400 with upstream's text where a selector cannot be parsed or names a field the resource does not offer.
Outcome<Selection> make_selection(const Resource& resource, std::string ns, const std::string& label_selector,
                                  const std::string& field_selector);

// Dotted paths whose values Object keeps beside the bytes, since the node's own loops select by them.
std::vector<std::string_view> cached_fields(const Resource& resource);

}  // namespace monopod::api
