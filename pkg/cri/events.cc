#include "cri/events.h"

#include "cri/limits.h"

namespace monopod::cri {

Events::Listener::Listener(Events& events) : queue(events.executor_, kEventQueueMax), events_(events) { events_.listeners_.push_back(&queue); }

}  // namespace monopod::cri
