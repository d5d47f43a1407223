// OpenAPI documents made from the tables and the schemas of custom kinds: v3, which kubectl apply, diff, explain and helm read, and v2 for
// older clients. Built on first use and kept; what a changed custom kind stands in is built anew.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/crd/kinds.h"
#include "base/bytes.h"
#include "base/error.h"

namespace monopod::api {

class OpenApi {
 public:
  // `served` says which resources exist on this server; the default is every row.
  explicit OpenApi(std::function<bool(const Resource&)> served = {});

  // The custom kinds to speak of from now on.
  void set_kinds(std::shared_ptr<const crd::KindSet> kinds);

  // GET /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=…"},…}}
  SharedBytes index();
  // GET /openapi/v3/api/v1, /openapi/v3/apis/apps/v1: path without the prefix ("api/v1", "apis/apps/v1"). kNotFound.
  Result<SharedBytes> document(std::string_view path);
  // Hex SHA-512 of the document in upper case: its ETag and its ?hash=.
  Result<std::string> hash(std::string_view path);

  struct Document { SharedBytes bytes; std::string hash; };
  // GET /openapi/v2: one document for everything, as JSON or protobuf.
  const Document& v2(bool protobuf);

 private:
  Result<const Document*> find(std::string_view path);
  std::function<bool(const Resource&)> served_;
  std::shared_ptr<const crd::KindSet> kinds_ = std::make_shared<const crd::KindSet>();
  std::map<std::string, Document, std::less<>> documents_;
  SharedBytes index_;
  std::optional<Document> v2_json_, v2_protobuf_;
};

}  // namespace monopod::api
