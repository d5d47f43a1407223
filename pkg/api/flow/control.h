// API priority and fairness: which FlowSchema a request belongs to, and its seat. The objects of flowcontrol.apiserver.k8s.io are
// read again when they have changed.
#pragma once

#include "api/authz/attributes.h"
#include "api/cache/cache_set.h"
#include "api/flow/seats.h"

namespace monopod::api::flow {

// A FlowSchema as it is matched: rules in order, each with who and what.
struct Schema {
  struct Subject {
    enum class Kind { kUser, kGroup, kServiceAccount } kind = Kind::kUser;
    std::string ns, name;
  };
  struct Rule {
    std::vector<std::string> verbs, groups, resources, namespaces, urls;
    bool cluster_scope = false;
  };
  struct Policy {
    std::vector<Subject> subjects;
    std::vector<Rule> resource_rules, path_rules;
  };
  std::string name, uid, level;
  std::int64_t precedence = 0;
  enum class By { kNothing, kUser, kNamespace } by = By::kNothing;
  std::vector<Policy> policies;

  bool matches(const Attributes& request) const;
};
Schema read_schema(const json::Value& object);
LevelSettings read_level(const json::Value& object);

class Control {
 public:
  // caches outlives it.
  Control(async::Executor executor, CacheSet& caches, async::Time& time) : caches_(caches), pool_(executor, time) {}

  // Waits for a seat. width: seats wanted. The uids are set even where the request is refused, for the answer's headers.
  async::Task<Outcome<Seat>> admit(const Attributes& request, int width, std::string& schema_uid, std::string& level_uid);
  void append_metrics(std::string& out) const;

 private:
  void refresh();
  const Schema* classify(const Attributes& request) const;

  CacheSet& caches_;
  Pool pool_;
  std::vector<Schema> schemas_;  // by precedence, then name; those whose level exists
  const WatchCache *level_objects_ = nullptr, *schema_objects_ = nullptr;  // of rows of the tables: there as long as caches_
  std::uint64_t schemas_seen_ = 0, levels_seen_ = 0;
};

// What every cluster has: the mandatory and the suggested objects of upstream.
std::vector<json::Value> bootstrap_levels();
std::vector<json::Value> bootstrap_schemas();

}  // namespace monopod::api::flow
