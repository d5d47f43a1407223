// What of a request is written to the audit log: audit.k8s.io/v1 Policy. The first rule that matches decides; no rule, no event.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/authz/attributes.h"
#include "base/error.h"

namespace monopod::api::audit {

enum class Level { kNone, kMetadata, kRequest, kRequestResponse };
enum class Stage { kRequestReceived, kResponseStarted, kResponseComplete, kPanic };  // the last never happens here: a server that fails ends

std::string_view name_of(Level level);
std::string_view name_of(Stage stage);

inline constexpr std::size_t kPolicyBytesMax = 1U << 20;
inline constexpr std::size_t kPolicyRulesMax = 1000;  // each request walks them

struct Verdict {
  Level level = Level::kNone;
  unsigned omitted_stages = 0;  // bits 1 << Stage
  bool omit_managed_fields = false;
  bool omits(Stage stage) const { return (omitted_stages >> static_cast<unsigned>(stage) & 1) != 0; }
};

struct GroupResources {
  std::string group;
  std::vector<std::string> resources;  // "pods", "pods/log", "pods/*", "*/scale", "*"; none: all of the group
  std::vector<std::string> names;
};

struct Rule {
  Level level = Level::kNone;
  std::vector<std::string> users, groups, verbs, namespaces, urls;  // an empty list asks for nothing
  std::vector<GroupResources> resources;
  unsigned omitted_stages = 0;
  std::optional<bool> omit_managed_fields;

  bool matches(const Attributes& request) const;
};

struct Policy {
  std::vector<Rule> rules;
  unsigned omitted_stages = 0;
  bool omit_managed_fields = false;

  Verdict judge(const Attributes& request) const;
};

// YAML or JSON. kInvalidArgument names the member: `rules[2].level: unsupported value "All": supported values: …`. Members that are
// not known are refused: a rule that does not say what its author thinks it says is worse than none.
Result<Policy> parse_policy(std::string_view text);

}  // namespace monopod::api::audit
