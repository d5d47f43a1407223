// Sets of fields of an object, as metadata.managedFields keeps them (FieldsV1, KEP-555). A path element is kept in its wire
// spelling: "f:name", "k:{\"name\":\"a\"}" (an item of a list with map keys), "v:3" (an item of a set), "i:0".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

class FieldSet {
 public:
  bool member = false;  // the path that leads here is in the set
  std::map<std::string, FieldSet, std::less<>> children;

  bool empty() const { return !member && children.empty(); }
  // Quick where elements come in their order.
  FieldSet& at(std::string_view element) { return children.try_emplace(children.end(), std::string(element))->second; }
  const FieldSet* find(std::string_view element) const;

  bool unite(const FieldSet& other);      // whether there was anything new
  bool subtract(const FieldSet& other);   // members only: a parent's removal leaves its children; whether there were any
  FieldSet intersect(const FieldSet& other) const;
  void erase(std::initializer_list<std::string_view> path);        // that member and all below
  void erase_member(std::initializer_list<std::string_view> path); // that member alone
  bool operator==(const FieldSet& other) const = default;

  // ".spec.containers[name=\"a\"].image" of each member, in order.
  std::vector<std::string> paths() const;

  json::Value encode() const;                              // FieldsV1
  bool is_written_as(const json::Value& text) const;       // text is what encode() gives
  static Result<FieldSet> decode(const json::Value& text);  // depth is bounded by the parser's

 private:
  void prune();
  void collect(const std::string& path, std::vector<std::string>& out) const;
};

}  // namespace monopod::api
