// Calls a Handler without a socket: the same Response type, answer bytes shared and not copied.
#pragma once

#include "http/client.h"
#include "http/exchange.h"

namespace monopod::http {

// The handler runs in background; dropping the Response's body cancels it. peer.in_process is set on the request.
async::Task<Result<Response>> call_in_process(async::Scope& background, Handler& handler, Request request, SharedBytes body = nullptr);

class InProcessClient final : public Caller {
 public:
  // Both outlive it. headers are added to each request where it lacks them (who calls).
  InProcessClient(async::Scope& background, Handler& handler, Headers headers = {});

  async::Task<Result<Response>> request(ClientRequest request) override;
  async::Task<Result<std::unique_ptr<Call>>> open(ClientRequest request) override;

 private:
  Request make_request(ClientRequest& from) const;
  async::Scope& background_;
  Handler& handler_;
  Headers headers_;
};

}  // namespace monopod::http
