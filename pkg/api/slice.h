// Long work in turns: `Slice slice(time)`, then `if (slice.spent()) co_await slice.yield()` within loops.
#pragma once

#include "async/time.h"

namespace monopod::api {

// Lets everything else that is ready on the loop run once.
async::Task<Result<>> yield_loop();

class Slice {
 public:
  Slice();
  bool spent() const;  // this turn has used its share of the loop
  async::Task<Result<>> yield();  // next turn; restarts the share

 private:
  MonoTime begin_;
};

}  // namespace monopod::api
