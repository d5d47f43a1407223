#include "proxy/filters/filters.h"

#include "base/strings.h"

namespace monopod::proxy {
namespace {

struct Kind {
  std::string_view name;
  Result<FilterPtr> (*make)(const FilterSpec& spec, const FilterContext& context);
};

constexpr Kind kKinds[] = {
    {"cors", make_cors},                          // answers preflights; tells browsers what other origins may read
    {"ext_authz", make_ext_authz},                // asks a service, by HTTP or gRPC: what that says
    {"fault", make_fault},                        // delays and aborts a share of requests, to see what clients do
    {"grpc_web", make_grpc_web},                  // browsers call gRPC services
    {"headers", make_headers},                    // removes, sets and adds
    {"jwt", make_jwt},                            // who signed, for whom, until when: 401
    {"local_rate_limit", make_local_rate_limit},  // a token bucket per listener: 429
    {"rate_limit", make_rate_limit},              // token buckets by key, one table for the whole process: 429
    {"rbac", make_rbac},                          // who may do what: 403
    {"shed", make_shed},                          // by priority, while memory runs short: 503
};

}  // namespace

Result<FilterPtr> make_filter(const FilterSpec& spec, const FilterContext& context) {
  std::string all;
  for (const Kind& kind : kKinds) {
    if (kind.name == spec.kind) return kind.make(spec, context);
    all += cat(all.empty() ? "" : ", ", kind.name);
  }
  return fail(Code::kInvalidArgument, cat("no filter of kind \"", spec.kind, "\"; there are ", all));
}

}  // namespace monopod::proxy
