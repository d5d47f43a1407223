// What a URL asks for, before anything is looked up: k8s.io/apiserver's RequestInfo. Authorisation decides on these values.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/status.h"

namespace monopod::api {

class QueryParams {
 public:
  static Outcome<QueryParams> parse(std::string_view raw);  // 400 on broken escapes
  std::string get(std::string_view name) const;             // first value, "" where absent
  std::vector<std::string> all(std::string_view name) const;
  bool has(std::string_view name) const;
  bool flag(std::string_view name) const;  // present and not "false" or "0"
  void set(std::string name, std::string value);
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }
  std::string format() const;  // re-encoded, in order

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

struct RequestInfo {
  bool is_resource = false;
  std::string path;         // decoded, for non-resource rules
  std::string verb;         // get list watch create update patch delete deletecollection; lowercase method for non-resource paths
  std::string group, version, ns, resource, subresource, name;
  std::vector<std::string> parts;  // resource, name, subresource and what follows (proxy paths)
  QueryParams query;
};

// Segments are decoded one by one; "", ".", ".." and anything with a slash inside are refused for resource paths (400),
// so that no store key can be built from them.
Outcome<RequestInfo> parse_request(std::string_view method, std::string_view target);

// What may stand as one segment of a store key: no '/', no control characters, not "." or "..", not empty.
bool valid_segment(std::string_view segment);

std::string percent_encode(std::string_view text);

}  // namespace monopod::api
