// One watch event as bytes. Encoded once for each form that some watcher asked for, then shared by all of them.
#pragma once

#include <memory>

#include "api/local.h"
#include "base/bytes.h"

namespace monopod::api {

// How a watcher wants its events. Equal ids mean byte-equal frames.
class FrameForm {
 public:
  virtual ~FrameForm() = default;
  virtual std::uint64_t id() const = 0;
  virtual SharedBytes encode(EventType type, const Object& object) const = 0;
  virtual SharedBytes encode_bookmark(std::int64_t revision, bool initial_events_end) const = 0;
};

std::string_view event_type_name(EventType type);  // "ADDED"

}  // namespace monopod::api
