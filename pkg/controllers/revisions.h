// ControllerRevisions: the templates that a StatefulSet or DaemonSet had, numbered, for rolling out, kubectl rollout history and undo.
// What is kept of a template is a strategic merge patch that puts it back: {"spec": {"template": {…, "$patch": "replace"}}}.
#pragma once

#include <set>

#include "api/selector/selector.h"
#include "controllers/controllers.h"

namespace monopod::controllers {

struct TemplateRevision {
  client::Object object;
  json::Value tree;

  const std::string& name() const { return object.name; }
  std::int64_t number() const { return json::get_int(tree, {"revision"}); }
  json::Value pod_template() const;
};

class RevisionHistory {
 public:
  // resource: of the owners. hash_label: the label of a revision that holds the hash of its template.
  RevisionHistory(const ControllerParts& parts, const client::Resource& resource, std::string_view hash_label);

  // The owner's revisions, oldest first; orphans that its selector matches are adopted.
  async::Task<Result<>> list(const client::Object& owner, const json::Value& tree, const api::LabelSelector& selector, std::vector<TemplateRevision>& revisions);
  // The revision of the owner's template, made or made the newest where need be, and put into the list. collisions: status.collisionCount,
  // counted up where another template has the name that the hash gives.
  async::Task<Result<>> ensure(const client::Object& owner, const json::Value& tree, std::vector<TemplateRevision>& revisions, std::int64_t& collisions, TemplateRevision& found);
  // Deletes the oldest of those that are not in use beyond spec.revisionHistoryLimit.
  async::Task<Result<>> truncate(const json::Value& tree, const std::vector<TemplateRevision>& revisions, const std::set<std::string>& in_use);

 private:
  async::Task<Result<>> create(const client::Object& owner, const json::Value& tree, json::Value data, std::int64_t number, std::int64_t& collisions, TemplateRevision& made);
  json::Value body_of(const client::Object& owner, const json::Value& tree, const std::string& hash, const json::Value& data, std::int64_t number) const;

  ControllerParts parts_;
  client::Resource resource_;
  std::string_view hash_label_;
  client::Informer& revisions_;
};

}  // namespace monopod::controllers
