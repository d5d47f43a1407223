// A client's connection of HTTP/2: each stream is an HttpSession of its own, so that routes, filters, retries and endpoints are those of HTTP/1.1.
#pragma once

#include "proxy/h2/core.h"
#include "proxy/listener/downstream.h"

namespace monopod::proxy {

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // RFC 9113 section 3.4
bool is_http2(const ssl_st* ssl);  // ALPN chose it

class H2Downstream final : public Downstream, private H2Core {
 public:
  explicit H2Downstream(Downstream& from) : Downstream(from), H2Core(worker_, socket_, *this, Side::kServer) {}
  // initial: what came already.
  void begin(std::string_view initial);
  void on_drain() override;

 private:
  void on_established() override {}
  void drive() override;
  void on_deadline() override;
  bool idle() const override { return true; }  // its streams have their own
  void on_request(const std::shared_ptr<H2Stream>& stream) override;
  void on_lingering() override;
  void end();
  bool linger_ = false;
};

}  // namespace monopod::proxy
