// Writes pod statuses to the API: the newest of each pod, one at a time, again after a failure. What changed while a write was on
// its way is one further write.
#pragma once

#include <map>
#include <string>

#include "agent/pod.h"
#include "async/time.h"
#include "client/api.h"

namespace monopod::agent {

class StatusManager {
 public:
  StatusManager(async::Executor executor, client::Api& api, async::Time& time);

  // uid: of the object in the API (a static pod's mirror has its own). Never waits.
  void set(const std::string& ns, const std::string& name, const std::string& uid, json::Value status);
  // What is still to be written for the pod is written now, once; errors are the next run's business.
  async::Task<> flush(std::string ns, std::string name);
  void forget(const std::string& ns, const std::string& name);

  // Writes until cancelled.
  async::Task<Result<>> run();

 private:
  struct Entry {
    std::string uid;
    json::Value status;
    json::Value written;  // what the API has of ours
    bool dirty = false;
    bool writing = false;
    MonoTime retry_at{};
    Duration wait{};
  };
  async::Task<Result<>> write(std::string key);

  client::Api& api_;
  async::Time& time_;
  async::Event changed_;
  async::Notify written_;
  std::map<std::string, Entry> entries_;  // "ns/name"
};

// A strategic merge patch that turns written into status: conditions of others stay, what is gone becomes null.
json::Value make_status_patch(const std::string& uid, const json::Value& written, const json::Value& status);

}  // namespace monopod::agent
