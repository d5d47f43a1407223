#include "http/stream_upgrade.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"

namespace monopod::http {

async::Task<Result<SpdyWire>> upgrade_to_spdy(Exchange& exchange, std::span<const std::string_view> protocols) {
  std::vector<std::string> offered;
  for (std::string_view value : exchange.request().headers.find_all("x-stream-protocol-version"))
    for (std::string_view one : split(value, ',')) offered.emplace_back(trim(one));
  SpdyWire out;
  if (offered.empty()) out.protocol = protocols.back();
  for (std::string_view known : protocols)
    if (out.protocol.empty() && std::ranges::find(offered, known) != offered.end()) out.protocol = known;
  if (out.protocol.empty()) {
    std::vector<std::string> ours(protocols.begin(), protocols.end());
    Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"Connection", "close"}};
    for (const std::string& one : ours) headers.add("X-Accepted-Stream-Protocol-Versions", one);
    std::string text = cat("unable to upgrade: unable to negotiate protocol: client supports [", join(offered, " "), "], server accepts [", join(ours, " "), "]\n");
    CO_TRY(co_await exchange.respond(403, std::move(headers), std::move(text)));
    co_return out;
  }
  Headers headers{{"Connection", "Upgrade"}, {"Upgrade", kSpdy}};
  if (!offered.empty()) headers.add("X-Stream-Protocol-Version", out.protocol);
  CO_TRY_ASSIGN(out.stream, co_await exchange.upgrade(101, std::move(headers)));
  co_return out;
}

}  // namespace monopod::http
