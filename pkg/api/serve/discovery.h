// What is served: aggregated discovery (apidiscovery.k8s.io v2, v2beta1) and the older documents, with ETags. Made when first asked
// for, and anew when the custom kinds change.
#pragma once

#include <map>

#include "api/crd/kinds.h"
#include "base/bytes.h"

namespace monopod::api {

struct DiscoveryDocument {
  SharedBytes bytes;
  std::string etag;  // quoted
};

class Discovery {
 public:
  // server_address: "host:port", told to clients in the old documents. kinds outlives it.
  Discovery(std::string server_address, const crd::Kinds& kinds);

  // version "v2" or "v2beta1"; core: /api, else /apis.
  const DiscoveryDocument& aggregated(bool core, std::string_view version);
  // /api, /apis, /apis/<group>, /api/v1, /apis/<group>/<version>; null where there is no such document.
  const DiscoveryDocument* legacy(std::string_view path);

 private:
  void forget_old();
  std::string make_legacy(std::string_view path) const;
  const crd::Kinds& kinds_;
  std::uint64_t number_ = 0;  // of the kinds that documents_ speak of
  std::string server_address_;
  std::map<std::string, DiscoveryDocument, std::less<>> documents_;
};

// Groups in the order clients should prefer them; versions with the preferred one first.
struct ServedGroup {
  std::string_view group;
  std::vector<std::string_view> versions;
};
std::vector<ServedGroup> served_groups(const crd::KindSet& kinds);

}  // namespace monopod::api
