// The work queue of reconcile loops: fair (first in, first out), stingy (a key added many times before it is taken is taken
// once; a key added while being worked on comes again after), multi-producer, stoppable. Keys that fail come back after
// exponential back-off.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "async/scope.h"
#include "async/time.h"

namespace monopod::client {

class WorkQueue {
 public:
  struct Options {
    Duration backoff_base = std::chrono::milliseconds(5);  // doubles per failure
    Duration backoff_max = std::chrono::seconds(1000);
  };
  WorkQueue(async::Executor executor, async::Time& time) : WorkQueue(executor, time, Options{}) {}
  WorkQueue(async::Executor executor, async::Time& time, Options options);

  void add(std::string key);
  void add_after(std::string key, Duration delay);
  void add_rate_limited(std::string key);
  void forget(const std::string& key) { failures_.erase(key); }  // the next failure starts at the base again
  int failures(const std::string& key) const;

  // Waits for a key; kUnavailable once shut down. The taker calls done() whatever happened.
  async::Task<Result<std::string>> take();
  void done(const std::string& key);

  // Delivers delayed keys; runs until cancelled. One per queue, in the owner's scope.
  async::Task<Result<>> run_timers();

  void shut_down();
  std::size_t size() const { return order_.size(); }

 private:
  async::Time& time_;
  Options options_;
  std::deque<std::string> order_;
  std::unordered_set<std::string> waiting_;   // in order_, or to be re-added when done
  std::unordered_set<std::string> working_;
  std::unordered_map<std::string, int> failures_;
  std::multimap<MonoTime, std::string> delayed_;
  bool stopped_ = false;
  async::Notify added_;
  async::Notify delayed_changed_;
};

}  // namespace monopod::client
