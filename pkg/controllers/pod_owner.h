// What the controllers share whose objects own pods by a selector (replica sets, stateful sets, daemon sets, jobs): which pods are whose,
// adopting and releasing, creating and deleting with expectations and events, writing the status. Source: apps/v1, batch/v1 and the observable
// behaviour of kube-controller-manager.
#pragma once

#include "api/selector/selector.h"
#include "controllers/controllers.h"
#include "controllers/expectations.h"
#include "controllers/pods.h"

namespace monopod::controllers {

struct OwnedPod {
  client::ObjectPtr object;
  json::Value tree;
};

// Which of two pods goes first when too many run: unassigned, not running, not ready, cheap to delete, young (in this order).
bool goes_first(const OwnedPod& a, const OwnedPod& b);
// Stable.
void sort_pods(std::vector<const OwnedPod*>& pods, bool (*before)(const OwnedPod& a, const OwnedPod& b));

// What the kinds differ in.
struct PodOwnerKind {
  client::Resource resource;
  std::string_view controller;      // whom events come from
  bool map_selector = false;        // spec.selector is a plain map of labels
  std::string_view finalizer = {};  // that their pods carry
};

class PodOwner : public QueueController {
 public:
  PodOwner(const ControllerParts& parts, const PodOwnerKind& kind);  // kind outlives it

 protected:
  // None: selects nothing.
  std::optional<api::LabelSelector> selector_of(const json::Value& owner) const;
  // The owner's pods; orphans that match are adopted, pods that no longer match are released, unless the owner is being deleted.
  async::Task<Result<>> claim(const client::Object& owner, const json::Value& tree, const api::LabelSelector& selector, std::vector<OwnedPod>& pods);
  // False: the namespace is being deleted, there is nothing more to do. The failure of a creation is an event, and the error.
  async::Task<Result<bool>> create_pod(const client::Object& owner, json::Value pod);
  // Those that are gone or are another's by now are passed over.
  async::Task<Result<>> delete_pods(const client::Object& owner, std::vector<const OwnedPod*> pods);
  // A pod that is gone is none of our business any more. metadata: a strategic merge patch.
  async::Task<Result<>> patch_pod(const client::Object& pod, json::Object metadata);
  // Nothing is written where the status is as it was. tree: the owner's.
  async::Task<Result<>> write_status(const client::Object& owner, json::Value tree, json::Value status);

  // What is told of a pod's creation and deletion.
  virtual void say_created(const client::Object& owner, std::string_view pod, const Error* failure);
  virtual void say_deleted(const client::Object& owner, std::string_view pod, const Error* failure);
  // Whether the pod may be the owner's by more than its labels.
  virtual bool may_own(const client::Object&, const client::Object&) const { return true; }
  // A pod that no controller owns appeared or changed.
  virtual void on_orphan(const client::Object&) {}

  void record(const client::Object& owner, std::string_view type, std::string_view reason, std::string message);

  const PodOwnerKind& kind_;
  client::Informer& owners_;
  client::Informer& pods_;
  Expectations expectations_;

 private:
  void on_pod(const client::ObjectPtr& old, const client::ObjectPtr& now);
};

}  // namespace monopod::controllers
