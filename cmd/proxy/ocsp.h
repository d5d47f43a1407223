// Asks for the OCSP answers that a proxy's listeners are to staple, again and again.
#pragma once

#include "async/event.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/rng.h"
#include "cmd/resolver.h"
#include "proxy/proxy.h"

namespace monopod::cmd {

class OcspFetcher {
 public:
  OcspFetcher(async::Executor executor, async::Time& time, Rng& rng, proxy::Proxy& proxy) : executor_(executor), time_(time), proxy_(proxy), resolver_(time, rng), changed_(executor) {}

  // Until cancelled. One certificate after the other; a failure is logged, and tried again after a pause that doubles.
  async::Task<Result<>> run();
  // There is another snapshot.
  void wake() { changed_.wake_all(); }

 private:
  async::Task<> refresh(std::shared_ptr<proxy::OcspStaple> staple);
  async::Task<Result<>> fetch(std::shared_ptr<proxy::OcspStaple> staple);

  async::Executor executor_;
  async::Time& time_;
  proxy::Proxy& proxy_;
  HostResolver resolver_;
  async::Notify changed_;
};

}  // namespace monopod::cmd
