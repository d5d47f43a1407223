// The list of filters there are.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "proxy/filters/filter.h"
#include "proxy/filters/shared.h"

namespace monopod::proxy {

using FilterPtr = std::unique_ptr<Filter>;

// What a filter may hold on to beside its specification.
struct FilterContext {
  // The index of a cluster in the snapshot. kInvalidArgument: there is none.
  std::function<Result<std::size_t>(const std::string& name)> find_cluster;
  std::function<const ClusterSpec&(std::size_t index)> cluster;
  Shared& shared;
};

// kInvalidArgument: no such kind, or what it cannot work with.
Result<FilterPtr> make_filter(const FilterSpec& spec, const FilterContext& context);

Result<FilterPtr> make_cors(const FilterSpec& spec, const FilterContext& context);              // cors.cc
Result<FilterPtr> make_ext_authz(const FilterSpec& spec, const FilterContext& context);         // ext_authz.cc
Result<FilterPtr> make_fault(const FilterSpec& spec, const FilterContext& context);             // fault.cc
Result<FilterPtr> make_grpc_web(const FilterSpec& spec, const FilterContext& context);          // grpc_web.cc
Result<FilterPtr> make_headers(const FilterSpec& spec, const FilterContext& context);           // headers.cc
Result<FilterPtr> make_jwt(const FilterSpec& spec, const FilterContext& context);               // jwt.cc
Result<FilterPtr> make_local_rate_limit(const FilterSpec& spec, const FilterContext& context);  // local_rate_limit.cc
Result<FilterPtr> make_rate_limit(const FilterSpec& spec, const FilterContext& context);        // rate_limit.cc
Result<FilterPtr> make_rbac(const FilterSpec& spec, const FilterContext& context);              // rbac.cc
Result<FilterPtr> make_shed(const FilterSpec& spec, const FilterContext& context);              // shed.cc

}  // namespace monopod::proxy
