// Objects that nobody stores: made when somebody asks. One implementation serves one group's reads.
#pragma once

#include "api/cache/selection.h"
#include "async/task.h"

namespace monopod::api {

class ComputedObjects {
 public:
  virtual ~ComputedObjects() = default;
  virtual std::string_view group() const = 0;
  // What the selection takes, in list order. selection.resource says which resource of the group.
  virtual async::Task<Outcome<std::vector<ObjectPtr>>> list(Selection selection) = 0;
};

}  // namespace monopod::api
