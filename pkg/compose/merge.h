// Compose files laid over one another (Compose specification, 13-merge.md). Pure: of trees as read_tree() gives them.
#pragma once

#include <string>
#include <string_view>

#include "codec/json.h"

namespace monopod::compose {

// Maps are joined, lists appended, the rest replaced; but a command, an entrypoint and a check are replaced as a whole, what is bound at a path in
// the container replaces what was bound there, and lists that stand for maps (environment, labels, ...) are joined by their names. !reset takes away
// what was there, !override replaces it. kInvalidArgument names the place of a list that meets a map.
Result<> merge_files(json::Value& base, const json::Value& over);
// One service over another: for extends.
Result<> merge_services(json::Value& base, const json::Value& over);
// Tags that are left: !override's value counts, !reset's key goes. kUnimplemented for other tags.
Result<> drop_tags(json::Value& tree);

// Paths of a service, or of a whole file, that are relative to directory become absolute.
void make_service_absolute(json::Value& service, const std::string& directory);
void make_file_absolute(json::Value& tree, const std::string& directory);

}  // namespace monopod::compose
