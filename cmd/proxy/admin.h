// What a proxy answers over its admin socket: /metrics, /clusters, /explain, /ready, and POST /reload.
#pragma once

#include <functional>
#include <string>

#include "cmd/proxy/config.h"
#include "http/server.h"
#include "proxy/proxy.h"

namespace monopod::cmd {

class ProxyAdmin final : public http::Handler {
 public:
  // All outlive it. reload: reads the configuration anew; its error is the answer.
  ProxyAdmin(async::Executor executor, proxy::Proxy& proxy, const ProxyConfig& config, unsigned workers, std::function<async::Task<Result<>>()> reload)
      : executor_(executor), proxy_(proxy), config_(config), workers_(workers), reload_(std::move(reload)) {}

  async::Task<Result<>> handle(http::Exchange& exchange) override;
  // Texts of every worker, one after the other.
  async::Task<> gather(void (*append)(proxy::Worker&, std::string&), std::string& out);

 private:
  async::Task<std::string> metrics();
  async::Executor executor_;
  proxy::Proxy& proxy_;
  const ProxyConfig& config_;
  unsigned workers_;
  std::function<async::Task<Result<>>()> reload_;
};

}  // namespace monopod::cmd
