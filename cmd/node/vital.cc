#include "cmd/node/vital.h"

#include <cstdlib>

#include "base/log.h"

namespace monopod::cmd {

async::Task<Result<>> vital(std::string_view process, async::Task<Result<>> part) {
  Result<> ended = co_await std::move(part);
  if (ended || ended.error().code() == Code::kCancelled) co_return ended;
  log::error("the process ends", {{"process", process}, {"why", ended.error()}});
  std::_Exit(EXIT_FAILURE);
}

}  // namespace monopod::cmd
