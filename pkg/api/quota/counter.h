// Who keeps status.used of ResourceQuotas (the API server, ledger.h), as seen by who says when to count anew (the controller).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "async/task.h"

namespace monopod::api {

class QuotaCounter {
 public:
  virtual ~QuotaCounter() = default;
  // Sets status.hard from spec.hard and status.used from what there is. Writes nothing where that is so already; a quota
  // that is gone is no error.
  virtual async::Task<Result<>> recount(std::string ns, std::string name) = 0;
  // Called with "ns/name" when a charge was made whose object then was not stored: a recount gives it back.
  virtual void on_stale(std::function<void(std::string_view key)> callback) = 0;
};

}  // namespace monopod::api
