// What authorisation decides on.
#pragma once

#include <string>
#include <vector>

#include "api/request_info.h"
#include "api/user.h"

namespace monopod::api {

struct Attributes {
  UserInfo user;
  std::string verb;
  bool is_resource = true;
  std::string group, version, resource, subresource, ns, name;
  std::string path;  // non-resource
};

struct Decision {
  bool allowed = false;
  std::string reason;
};

Attributes attributes_of(const UserInfo& user, const RequestInfo& info);
// 403 with upstream's text.
Status denial(const Attributes& attributes, std::string_view reason);

}  // namespace monopod::api
