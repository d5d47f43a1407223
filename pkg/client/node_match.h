// Whether a node is what a pod asks for, and whether a pod bears what a node has: node selectors, node affinity, taints and tolerations as
// core/v1 defines them. What the scheduler filters by, the daemon set controller and taint eviction ask also.
#pragma once

#include "client/meta.h"

namespace monopod::client {

// One toleration against one taint; an effect left out tolerates every one.
bool tolerates_taint(const json::Value& toleration, const json::Value& taint);
// True where the toleration list of the pod tolerates the taint.
bool tolerates(const json::Value& pod, const json::Value& taint);
// One node selector term: matchExpressions over labels, matchFields over metadata.name. An empty one selects nothing.
bool node_term_matches(const json::Value& term, const json::Value& node);
// nodeSelector and required node affinity of the pod against a node.
bool matches_node_affinity(const json::Value& pod, const json::Value& node);

}  // namespace monopod::client
