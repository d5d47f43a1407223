#include "cmd/proxy/intercept.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "sys/namespaces.h"

namespace monopod::cmd {

Result<network::InterceptSpec> intercept_spec(const proxy::InterceptionSpec& spec) {
  network::InterceptSpec out{.inbound_port = spec.inbound_port, .outbound_port = spec.outbound_port, .inbound_transparent = spec.transparent, .outbound_transparent = spec.outbound_transparent, .uids_excluded = spec.uids_excluded, .mark_excluded = spec.mark_excluded};
  out.inbound_ports_excluded.assign(spec.inbound_ports_excluded.begin(), spec.inbound_ports_excluded.end());
  out.outbound_ports_excluded.assign(spec.outbound_ports_excluded.begin(), spec.outbound_ports_excluded.end());
  for (const std::string& text : spec.cidrs_excluded) {
    Result<network::Cidr> cidr = network::parse_cidr(text);
    if (!cidr) return fail(std::move(cidr).error().with(cat("interception of ", spec.netns)));
    out.cidrs_excluded.push_back(*cidr);
  }
  return out;
}

Interceptions::~Interceptions() {
  if (Result<> removed = apply({}); !removed) log::error("redirect rules stay", {{"error", removed.error()}});
}

Result<> Interceptions::apply(const std::vector<proxy::InterceptionSpec>& wanted) {
  std::vector<network::InterceptSpec> specs;
  for (const proxy::InterceptionSpec& spec : wanted) {
    TRY_ASSIGN(network::InterceptSpec made, intercept_spec(spec));
    specs.push_back(std::move(made));
  }
  std::vector<Installed> kept;
  for (Installed& old : installed_) {
    if (std::ranges::any_of(wanted, [&](const auto& spec) { return spec.netns == old.spec.netns; })) kept.push_back(std::move(old));
    else TRY(network::remove_intercept(old.netns.get()));
  }
  installed_ = std::move(kept);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto known = std::ranges::find(installed_, wanted[i].netns, [](const Installed& installed) { return installed.spec.netns; });
    if (known != installed_.end() && known->spec == wanted[i]) continue;
    TRY_ASSIGN(sys::Fd netns, sys::open_namespace(wanted[i].netns));
    if (Result<> set = network::install_intercept(netns.get(), specs[i]); !set) return fail(Error(set.error()).with(cat("interception of ", wanted[i].netns)));
    if (known != installed_.end()) installed_.erase(known);
    installed_.push_back({wanted[i], std::move(netns)});
  }
  return {};
}

}  // namespace monopod::cmd
