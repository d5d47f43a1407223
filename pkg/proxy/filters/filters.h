// The list of filters there are.
#pragma once

#include <memory>

#include "base/error.h"
#include "proxy/filters/filter.h"

namespace monopod::proxy {

using FilterPtr = std::unique_ptr<Filter>;

// kInvalidArgument: no such kind, or what it cannot work with.
Result<FilterPtr> make_filter(const FilterSpec& spec);

Result<FilterPtr> make_cors(const FilterSpec& spec);              // cors.cc
Result<FilterPtr> make_fault(const FilterSpec& spec);             // fault.cc
Result<FilterPtr> make_headers(const FilterSpec& spec);           // headers.cc
Result<FilterPtr> make_local_rate_limit(const FilterSpec& spec);  // local_rate_limit.cc
Result<FilterPtr> make_rbac(const FilterSpec& spec);              // rbac.cc

}  // namespace monopod::proxy
