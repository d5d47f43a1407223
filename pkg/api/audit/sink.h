// Where audit events go: cmd hands in a file that is rotated.
#pragma once

#include <cstdint>
#include <string>

#include "async/task.h"
#include "base/error.h"

namespace monopod::api::audit {

class Sink {
 public:
  virtual ~Sink() = default;
  // One event, a line with its newline; kept in order. Never waits.
  virtual void append(std::string line) = 0;
  // Until there is room for more: requests wait here rather than that events are dropped or memory grows. Fails with kCancelled only.
  virtual async::Task<Result<>> wait_for_room() = 0;
  // Events that could not be written (a full disk), since the start.
  virtual std::uint64_t lost() const = 0;
};

}  // namespace monopod::api::audit
