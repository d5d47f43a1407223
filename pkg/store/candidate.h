// The queue under locks and elections: one key for each candidate, the oldest is first. lock.h has the rules.
#pragma once

#include <functional>

#include "store/backend.h"

namespace monopod::store {

struct Candidate {
  std::string key{};
  Revision create{};
  Revision revision{};            // of the store when it entered, or when its turn came
  bool entered = false;           // by this call; false: its lease was in the queue already
  SharedBytes found_value{};      // then: the value that key had
};

std::string candidate_key(std::string_view name, LeaseId lease);

// Puts the key unless it exists.
async::Task<Result<Candidate>> enter_queue(Backend& backend, std::string key, SharedBytes value, LeaseId lease);
// Waits until no older key is under name. Returns the store's revision then. kFailedPrecondition with expired_text if the key is gone.
async::Task<Result<Revision>> wait_for_turn(Backend& backend, std::string name, Candidate candidate, std::string expired_text);
// Deletes the key if it is still the one made at create.
async::Task<Result<Revision>> leave_queue(Backend& backend, std::string key, Revision create);

// Runs work and returns what it does. If it fails or is cancelled, the key goes first, provided it is younger than before:
// a cancelled put may or may not have happened.
async::Task<Result<Candidate>> or_leave_queue(Backend& backend, std::string key, Revision before, async::Task<Result<Candidate>> work);

}  // namespace monopod::store
