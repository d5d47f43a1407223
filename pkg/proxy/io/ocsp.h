// OCSP's answer about one certificate of ours (RFC 6960), as it is asked for and judged: signed by the certificate's issuer or whom that names, about
// that very certificate, and in its time. Nothing else is ever stapled. Who runs the proxy carries the messages (request() there, take() back).
//
//   due ─► request() ─► responder ─► take(): verified ─► answer() for handshakes, until nextUpdate
//    ▲ half of what is left, or ocsp_refresh; or a pause that doubles ──┘
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

class OcspStaple {
 public:
  // kInvalidArgument: the issuer does not stand behind the certificate, or there is no address to ask, or it is not of http.
  static Result<std::shared_ptr<OcspStaple>> make(const CertificateSpec& spec);
  // Whether another specification's would be the same.
  bool is_for(const CertificateSpec& spec) const { return spec.ocsp_fetch && spec.certificate_pem == certificate_pem_ && spec.ocsp_url == asked_url_ && spec.ocsp_refresh == refresh_; }
  const std::string& url() const { return url_; }
  const std::string& request() const { return request_; }  // DER

  // The rest: any thread. Seconds of the wall clock.
  // kInvalidArgument saying what is wrong with der; what was stapled stays, while it is in its time.
  Result<> take(std::string_view der, std::int64_t now_s);
  void note_failure(std::int64_t now_s);
  std::int64_t due_s() const;
  // Empty: nothing is stapled.
  std::string answer(std::int64_t now_s) const;

 private:
  OcspStaple() = default;
  std::string certificate_pem_, asked_url_, url_, request_, leaf_der_, issuer_der_;
  Milliseconds refresh_{0};
  mutable std::mutex mutex_;  // a handshake costs some thousand times as much
  std::string answer_;
  std::int64_t until_s_ = 0, due_s_ = 0, pause_s_ = 0;
};

}  // namespace monopod::proxy
