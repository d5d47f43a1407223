// The loop of every controller: take a key, make the world match it, come back later if that failed. Level-based: reconcile
// sees only the key and reads the state from informers; how often it is called never matters.
#pragma once

#include <string>

#include "client/work_queue.h"

namespace monopod::client {

class Reconciler {
 public:
  virtual ~Reconciler() = default;
  // Success forgets the key's failures. kAborted (conflict) and others are retried with back-off. The result may ask to be
  // called again after a while.
  struct Outcome {
    Duration requeue_after = Duration::zero();  // zero: not by time
  };
  virtual async::Task<Result<Outcome>> reconcile(std::string key) = 0;
};

struct ControllerOptions {
  std::string name;  // in logs
  int workers = 1;   // concurrent keys
};

// Runs queue -> reconciler until cancelled or the queue is shut down.
async::Task<Result<>> run_controller(WorkQueue& queue, Reconciler& reconciler, ControllerOptions options);

}  // namespace monopod::client
