// What is served: aggregated discovery (apidiscovery.k8s.io v2, v2beta1) and the older documents. Made once, with ETags.
#pragma once

#include <map>

#include "api/schema/schema.h"
#include "base/bytes.h"

namespace monopod::api {

struct DiscoveryDocument {
  SharedBytes bytes;
  std::string etag;  // quoted
};

class Discovery {
 public:
  explicit Discovery(std::string server_address);  // "host:port", told to clients in the old documents

  // version "v2" or "v2beta1"; core: /api, else /apis.
  const DiscoveryDocument& aggregated(bool core, std::string_view version);
  // /api, /apis, /apis/<group>, /api/v1, /apis/<group>/<version>; null where there is no such document.
  const DiscoveryDocument* legacy(std::string_view path);

 private:
  std::string make_legacy(std::string_view path) const;
  std::string server_address_;
  std::map<std::string, DiscoveryDocument, std::less<>> documents_;
};

// Groups in the order clients should prefer them; versions with the preferred one first.
struct ServedGroup {
  std::string_view group;
  std::vector<std::string_view> versions;
};
std::vector<ServedGroup> served_groups();

}  // namespace monopod::api
