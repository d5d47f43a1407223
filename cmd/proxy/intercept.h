// The redirect rules that a proxy's configuration asks for.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "network/intercept.h"
#include "proxy/config/spec.h"
#include "sys/fd.h"

namespace monopod::cmd {

// kInvalidArgument: a prefix that is none, or one that is not excluded from anything.
Result<network::InterceptSpec> intercept_spec(const proxy::InterceptionSpec& spec);

// Those of one proxy. Rules go with the object; a namespace that is gone took its own along.
class Interceptions {
 public:
  Interceptions() = default;
  ~Interceptions();
  Interceptions(const Interceptions&) = delete;
  Interceptions& operator=(const Interceptions&) = delete;
  // Sets what is new or changed, and removes what is asked for no longer. Blocking, for milliseconds.
  Result<> apply(const std::vector<proxy::InterceptionSpec>& wanted);

 private:
  struct Installed {
    proxy::InterceptionSpec spec;
    sys::Fd netns;
  };
  std::vector<Installed> installed_;
};

}  // namespace monopod::cmd
