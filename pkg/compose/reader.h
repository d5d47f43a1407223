// Private: members of a compose file as texts, lists and maps, with the place in every error.
#pragma once

#include "compose/project.h"

namespace monopod::compose {

// A value and where it stands.
struct At {
  const json::Value& value;
  std::string place;

  std::unexpected<Error> wrong(std::string_view why) const;
  Result<std::string> text() const;            // scalars
  Result<bool> truth() const;
  Result<std::int64_t> number() const;
  Result<std::vector<std::string>> texts() const;  // one, or a list
  // {"a": 1} or ["a=1"]: pairs; a name without a value is nullopt.
  Result<std::vector<std::pair<std::string, std::optional<std::string>>>> pairs() const;
  // Members in order; kUnimplemented for a key that is not known and does not begin with "x-".
  Result<std::vector<std::pair<std::string, At>>> members(std::initializer_list<std::string_view> known) const;
};

std::unexpected<Error> not_supported(const std::string& place, std::string_view key);

struct Context {
  const json::Value& tree;
  const ProjectOptions& options;
  const Sources& sources;
  std::string project;
};
// service.cc
Result<Service> read_service(const std::string& name, const json::Value& value, const Context& context);

}  // namespace monopod::compose
