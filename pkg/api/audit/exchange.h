// A request whose answer is watched for the audit log: everything goes through to the exchange it wraps.
#pragma once

#include "api/audit/record.h"
#include "http/exchange.h"

namespace monopod::api::audit {

class AuditedExchange final : public http::Exchange {
 public:
  // Both outlive it.
  AuditedExchange(http::Exchange& inner, Record& record) : inner_(inner), record_(record) { request_ = inner.request(); }

  async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override { return inner_.read_body_some(into); }
  async::Task<Result<std::string>> read_body_chunk() override { return inner_.read_body_chunk(); }
  async::Task<Result<>> start(int status, http::Headers headers) override { return inner_.start(status, begun(status, std::move(headers))); }
  async::Task<Result<>> write(SharedBytes bytes) override { return inner_.write(std::move(bytes)); }
  async::Task<Result<>> finish(http::Headers trailers) override { return inner_.finish(std::move(trailers)); }
  bool started() const override { return inner_.started(); }
  std::size_t websocket_message_bytes_max() const override { return inner_.websocket_message_bytes_max(); }
  bool wants_upgrade(std::string_view protocol) const override { return inner_.wants_upgrade(protocol); }
  async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int status, http::Headers headers) override { return inner_.upgrade(status, begun(status, std::move(headers))); }

 protected:
  async::Task<Result<>> send_whole(int status, http::Headers headers, SharedBytes body) override {
    return inner_.respond(status, begun(status, std::move(headers)), std::move(body));
  }

 private:
  http::Headers begun(int status, http::Headers headers) {
    record_.started(status);
    headers.set("audit-id", record_.id());
    return headers;
  }

  http::Exchange& inner_;
  Record& record_;
};

}  // namespace monopod::api::audit
