// Private: members of a compose file as texts, lists and maps. What is wrong is noted once, with its place, and reading goes on with empty values:
// who reads looks at the note at the end.
#pragma once

#include "compose/project.h"

namespace monopod::compose {

// The first thing that is wrong.
struct Wrong {
  std::optional<Error> first{};
};

// A value and where it stands: below parent, which outlives it, under key; an item of a list has its list's place.
struct At {
  const json::Value& value;
  Wrong& note;
  const At* parent = nullptr;
  std::string_view key{};

  std::string place() const;
  void wrong(std::string_view why) const;             // kInvalidArgument
  void not_supported(std::string_view what) const;    // kUnimplemented
  At item(const json::Value& v) const { return {v, note, parent, key}; }

  std::string text() const;  // of scalars
  bool truth() const;
  std::int64_t number() const;
  std::vector<std::string> texts() const;  // one, or a list
  // {"a": 1} or ["a=1"]; a name without a value is nullopt.
  using Pairs = std::vector<std::pair<std::string, std::optional<std::string>>>;
  Pairs pairs() const;
  const json::Array& list() const;  // empty where it is none
  // Members in order; a key that is not known and does not begin with "x-" is not supported. An empty list of known ones: any.
  using Members = std::vector<std::pair<std::string_view, At>>;
  Members members(std::initializer_list<std::string_view> known = {}) const&;
  Members members(std::initializer_list<std::string_view> known = {}) const&& = delete;  // they point here
};

struct Context {
  const json::Value& tree;
  const ProjectOptions& options;
  const Sources& sources;
  std::string project;
};
// service.cc
Service read_service(const At& at, const Context& context);

}  // namespace monopod::compose
