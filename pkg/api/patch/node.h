// Private: what a value is to the walks of structured merge: where its items' rules come from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/schema/schema.h"
#include "codec/json.h"

namespace monopod::api::crd {
class Schema;
}

namespace monopod::api::typed {

struct Node {
  enum Form { kLeaf, kStruct, kMap, kKeyedList, kSet } form = kLeaf;
  const Type* type = nullptr;    // kStruct: its fields; kMap, kKeyedList: of the elements, null for scalars
  const Field* field = nullptr;  // kKeyedList: its keys
  const crd::Schema* schema = nullptr;  // of a custom kind, instead of the two; null in a kMap: nothing is known of what is below
};

Node node_of_type(const Type* type);
Node child_of(const Node& node, std::string_view member);  // of one member or item

// How FieldsV1 names an item of a list: k:{…} or v:…; an empty answer: it has none of the keys.
std::optional<std::string> item_element(const Node& node, const json::Value& item);

// The same, without the texts: what tells the items of a list apart.
class ItemNames {
 public:
  explicit ItemNames(const Node& node);
  bool has_name(const json::Value& item) const;
  bool same(const json::Value& a, const json::Value& b) const;  // of two that have one

 private:
  struct Key {
    std::string_view name;
    std::string default_text;  // as JSON; empty: none
  };
  bool set_;
  std::vector<Key> keys_;
};

inline bool is_list(const Node& node) { return node.form == Node::kKeyedList || node.form == Node::kSet; }
bool is_empty(const json::Value* v);
// The value has the form its node says (a live object may hold anything where the tables say otherwise).
inline bool fits(const Node& node, const json::Value* v) { return v == nullptr || (is_list(node) ? v->is_array() : v->is_object()); }

}  // namespace monopod::api::typed
