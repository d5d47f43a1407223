#include "api/authz/attributes.h"

#include "base/strings.h"

namespace monopod::api {

Attributes attributes_of(const UserInfo& user, const RequestInfo& info) {
  return {user, info.verb, info.is_resource, info.group, info.version, info.resource, info.subresource, info.ns, info.name, info.path};
}

Status denial(const Attributes& a, std::string_view reason) {
  std::string text = cat("User \"", a.user.name, "\" cannot ", a.verb);
  if (!a.is_resource) {
    text += cat(" path \"", a.path, '"');
    if (!reason.empty()) text += cat(": ", reason);
    return forbidden({}, "", text);
  }
  std::string resource = a.subresource.empty() ? a.resource : cat(a.resource, '/', a.subresource);
  text += cat(" resource \"", resource, "\" in API group \"", a.group, '"');
  text += a.ns.empty() ? std::string(" at the cluster scope") : cat(" in the namespace \"", a.ns, '"');
  if (!reason.empty()) text += cat(": ", reason);
  Status status = forbidden({a.group, a.resource}, a.name, text);
  return status;
}

}  // namespace monopod::api
