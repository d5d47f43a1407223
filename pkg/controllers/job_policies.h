// What a Job's policies say about pods that ended: podFailurePolicy (KEP-3329), successPolicy (KEP-3998). Pure functions over trees.
#pragma once

#include <optional>
#include <string>

#include "codec/json.h"
#include "controllers/job_indexes.h"

namespace monopod::controllers {

enum class FailureAction { kCount, kIgnore, kFailJob, kFailIndex };

struct FailureVerdict {
  FailureAction action = FailureAction::kCount;
  std::string message;  // of kFailJob: which rule matched what
};
// The first rule of the job's podFailurePolicy that matches the failed pod; without one it counts.
FailureVerdict judge_failure(const json::Value& job, const json::Value& pod);

// The message of the SuccessCriteriaMet condition where a rule of the job's successPolicy is met.
std::optional<std::string> met_success_policy(const json::Value& job, const IndexSet& succeeded, std::int64_t completions);

// Restarts of the containers of a pod that runs or waits, for backoffLimit under restartPolicy OnFailure.
std::int64_t restarts_of(const json::Value& pod);

}  // namespace monopod::controllers
