// Label selectors (equality- and set-based) and field selectors: parse, match, print. Error texts are apimachinery's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

enum class LabelOperator { kEquals, kNotEquals, kIn, kNotIn, kExists, kDoesNotExist, kGreaterThan, kLessThan };

struct LabelRequirement {
  std::string key;
  LabelOperator op;
  std::vector<std::string> values;  // sorted, unique
};

class LabelSelector {
 public:
  LabelSelector() = default;  // matches everything
  explicit LabelSelector(std::vector<LabelRequirement> requirements) : requirements_(std::move(requirements)) {}

  bool empty() const { return requirements_.empty(); }
  const std::vector<LabelRequirement>& requirements() const { return requirements_; }
  // labels: metadata.labels or null.
  bool matches(const json::Object* labels) const;
  std::string format() const;

 private:
  std::vector<LabelRequirement> requirements_;
};

// The query parameter: "app=web,tier in (a,b),!x". At most 4096 requirements. kInvalidArgument, upstream's text.
Result<LabelSelector> parse_label_selector(std::string_view text);
// A metav1.LabelSelector object (matchLabels, matchExpressions). Null matches nothing upstream: pass only objects.
Result<LabelSelector> make_label_selector(const json::Value& selector);
// True where a plain map selector (Service, ReplicationController) selects the labels. An empty one selects nothing.
bool map_selects(const json::Object* selector, const json::Object* labels);

struct FieldRequirement {
  std::string field;
  bool equal;  // false: !=
  std::string value;
};

class FieldSelector {
 public:
  FieldSelector() = default;
  explicit FieldSelector(std::vector<FieldRequirement> requirements) : requirements_(std::move(requirements)) {}
  bool empty() const { return requirements_.empty(); }
  const std::vector<FieldRequirement>& requirements() const { return requirements_; }
  bool matches(const std::function<std::string(std::string_view field)>& value_of) const;
  // The value that `field` must equal; null where the selector does not pin it. metadata.name decides point reads.
  const std::string* find_equal(std::string_view field) const;
  std::string format() const;

 private:
  std::vector<FieldRequirement> requirements_;
};

// "metadata.name=x,status.phase!=Running" with \ escapes. kInvalidArgument, upstream's text.
Result<FieldSelector> parse_field_selector(std::string_view text);

}  // namespace monopod::api
