// Sets of fields of an object, as metadata.managedFields keeps them (FieldsV1, KEP-555). A path element is kept in its wire
// spelling: "f:name", "k:{\"name\":\"a\"}" (an item of a list with map keys), "v:3" (an item of a set), "i:0".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

class FieldSet {
 public:
  bool member = false;  // the path that leads here is in the set
  std::vector<std::pair<std::string, FieldSet>> children;  // sorted by element, each once

  bool empty() const { return !member && children.empty(); }
  // Made where absent. Quick where elements come in their order. Valid until the next.
  FieldSet& at(std::string_view element);
  void add(std::string_view element, FieldSet below) { at(element) = std::move(below); }  // that is not there yet
  const FieldSet* find(std::string_view element) const;
  FieldSet* find(std::string_view element) { return const_cast<FieldSet*>(std::as_const(*this).find(element)); }

  bool unite(const FieldSet& other);      // whether there was anything new
  bool subtract(const FieldSet& other);   // members only: a parent's removal leaves its children; whether there were any
  FieldSet intersect(const FieldSet& other) const;
  bool meets(const json::Value& text) const;  // text (FieldsV1) has a member of this
  bool operator==(const FieldSet& other) const = default;

  // ".spec.containers[name=\"a\"].image" of each member, in order.
  std::vector<std::string> paths() const;

  json::Value encode(const boost::json::storage_ptr& storage = {}) const;  // FieldsV1
  static Result<FieldSet> decode(const json::Value& text);  // depth is bounded by the parser's

 private:
  void prune();
  void collect(const std::string& path, std::vector<std::string>& out) const;
};

}  // namespace monopod::api
