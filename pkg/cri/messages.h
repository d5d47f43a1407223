// CRI's messages between protobuf's wire format and JSON trees, by schema.h. In a tree
//
//   names       are as declared; fields that we do not know are skipped
//   enums       are their numbers
//   bytes       are strings, as they are: no text
//   map         an object
//   defaults    are absent, but an empty message that was there is an empty object
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "cri/schema.h"

namespace monopod::cri {

// kInvalidArgument for broken bytes, a field of another type, a string that is not UTF-8, and what nests deeper than kMessageDepthMax.
Result<json::Value> decode_message(std::string_view bytes, const Message& type);
// Members of another type than the schema's, and those it does not have, are left out.
std::string encode_message(const json::Value& value, const Message& type);

// fail() with its parts joined: a call of it is small, and there are many.
std::unexpected<Error> refuse(Code code, std::initializer_list<std::string_view> parts);

// Members that may be absent.
std::vector<std::string> strings_of(const json::Value& root, std::initializer_list<std::string_view> path);
std::map<std::string, std::string> map_of(const json::Value& root, std::initializer_list<std::string_view> path);
json::Array array_of(const std::vector<std::string>& list);
// The member itself; an empty object where it is absent.
json::Value member_of(const json::Value& root, std::initializer_list<std::string_view> path);

}  // namespace monopod::cri
