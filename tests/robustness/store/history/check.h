// The judge of a history. It rebuilds the one order of writes that the revisions claim, from acknowledged answers and from what the
// auditing watch saw, and holds everything anybody was told against it:
//
//   writes   each acknowledged one has its revision, its events and its answer; one without an answer happened once or not at all;
//            revisions follow real time, over crashes too
//   reads    are exactly the state of their revision, never older than what was known when they began
//   watches  ordered, whole revisions, no gap, no duplicate, nothing before their start, progress never ahead of events
//   history  readable from the compacted revision on, and only from there
//   leases   keys go in one revision, not before their time, not never
//
// Each finding is a line "<what was broken> (etcd #...): <where>"; the numbers are etcd's own bugs of that kind.
#pragma once

#include "tests/robustness/store/history/history.h"

namespace monopod::testing {

std::vector<std::string> check_history(const History& history);

}  // namespace monopod::testing
