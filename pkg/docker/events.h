// What happens to containers, images, networks and volumes, for GET /events. The last ones are kept for those who ask for the past.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <string>

#include "async/channel.h"
#include "async/time.h"
#include "codec/json.h"
#include "docker/call.h"

namespace monopod::docker {

class Events {
 public:
  Events(async::Executor executor, async::Time& time) : executor_(executor), time_(time) {}

  // type: container, image, network, volume. attributes: name, image, labels, ...
  void emit(std::string_view type, std::string_view action, std::string_view id, std::map<std::string, std::string> attributes);
  // GET /events: since, until, filters.
  async::Task<Result<>> serve(Call& call);
  // Ends every listener.
  void close();

 private:
  struct Event {
    WallTime at{};
    json::Value body;
  };
  using Queue = async::Channel<Event>;
  static bool wanted(const Filters& filters, const json::Value& event);

  async::Executor executor_;
  async::Time& time_;
  std::deque<Event> kept_;
  std::list<Queue*> listeners_;
};

// "1767225600", "1767225600.000000001", RFC 3339, or Go's duration before now. kInvalidArgument otherwise.
Result<WallTime> parse_moment(std::string_view text, WallTime now);

}  // namespace monopod::docker
