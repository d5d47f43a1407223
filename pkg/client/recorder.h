// Events: what happened to an object, for people (kubectl describe, kubectl events). Repeats of the same event are counted in
// one Event object; a source that floods is cut (25 at once per object, then one in five minutes, as client-go's spam filter).
#pragma once

#include <deque>
#include <list>
#include <set>
#include <string>
#include <unordered_map>

#include "async/channel.h"
#include "async/time.h"
#include "base/rng.h"
#include "client/api.h"

namespace monopod::client {

struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string ns;
  std::string name;
  std::string uid;
  std::string resource_version;
  std::string field_path;  // "spec.containers{web}"
};
// From an object's own bytes.
ObjectReference reference_to(const Resource& resource, const Object& object);

class EventRecorder {
 public:
  // component: "kubelet", "default-scheduler", "deployment-controller"; host: the node's name or empty.
  EventRecorder(async::Executor executor, Api& api, async::Time& time, Rng& rng, std::string component, std::string host);

  // type "Normal" or "Warning". Never waits; when over 1,000 are pending the event is dropped.
  void record(ObjectReference about, std::string type, std::string reason, std::string message);

  // Sends until cancelled.
  async::Task<Result<>> run();

 private:
  struct Pending {
    ObjectReference about;
    std::string type;
    std::string reason;
    std::string message;
    WallTime at;
    bool combined = false;
  };
  struct Similar {  // what was said of one thing for one reason
    std::set<std::string> messages;
    MonoTime last{};
  };
  struct Known {  // an Event object of ours that repeats can be counted in
    std::string ns;
    std::string name;
    int count = 1;
  };
  struct Bucket {  // token bucket per object
    double tokens;
    MonoTime filled;
  };
  bool allowed(const std::string& uid);
  void aggregate(Pending& event);
  async::Task<Result<>> send(Pending event);
  std::string name_suffix(WallTime at);
  async::Task<bool> count_again(const std::string& key, const Pending& event);
  void remember(const std::string& key, Known known);

  Api& api_;
  async::Time& time_;
  Rng& rng_;
  std::string component_;
  std::string host_;
  async::Channel<Pending> pending_;
  std::unordered_map<std::string, Known> known_;
  std::deque<std::string> known_order_;
  std::unordered_map<std::string, Similar> similar_;
  std::uint64_t last_suffix_ = 0;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace monopod::client
