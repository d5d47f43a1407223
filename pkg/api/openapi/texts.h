// What `kubectl explain` says of types and fields, and the values that fields can have: texts/*.txt, compressed in the binary and expanded
// for as long as documents are made.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/schema/schema.h"

namespace monopod::api::openapi {

class Texts {
 public:
  struct Text {
    std::string_view text;
    std::vector<std::string_view> values;  // empty: any
  };

  Texts();
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;

  // Both valid as long as this; empty and null where nothing is known.
  std::string_view of(const Type& type) const;
  const Text* of(const Type& type, std::string_view field) const;

 private:
  struct Entry {
    std::string_view text;
    std::map<std::string_view, Text> fields;
  };
  const Entry* find(std::string_view type) const;

  std::string expanded_;
  std::map<std::string, Entry, std::less<>> types_;  // "" : fields of any type
};

}  // namespace monopod::api::openapi
