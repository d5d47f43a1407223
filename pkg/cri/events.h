// What happens to containers and sandboxes, for GetContainerEvents.
#pragma once

#include <list>

#include "async/channel.h"
#include "codec/json.h"

namespace monopod::cri {

class Events {
 public:
  using Queue = async::Channel<json::Value>;  // ContainerEventResponse
  explicit Events(async::Executor executor) : executor_(executor) {}

  bool has_listeners() const { return !listeners_.empty(); }
  // A listener that does not read is dropped.
  void emit(const json::Value& event) {
    for (Queue* queue : listeners_)
      if (!queue->try_push(event)) queue->close();
  }
  // Ends every listener.
  void close() {
    for (Queue* queue : listeners_) queue->close();
  }

  class Listener {
   public:
    explicit Listener(Events& events);
    ~Listener() { events_.listeners_.remove(&queue); }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    Queue queue;

   private:
    Events& events_;
  };

 private:
  async::Executor executor_;
  std::list<Queue*> listeners_;
};

}  // namespace monopod::cri
