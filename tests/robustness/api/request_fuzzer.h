// Random requests to an API server by a client that knows what is served: kinds, verbs, subresources, patches of four types, selectors, continue
// tokens, content types. Most are nearly right: an object of the kind in which some members are of another kind, missing, huge or hostile.
// One seed, one sequence of requests, given the same answers.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "api/schema/schema.h"
#include "base/rng.h"
#include "codec/json.h"
#include "http/headers.h"

namespace monopod::api {

struct FuzzRequest {
  std::string method, target, body;
  http::Headers headers;

  std::string describe() const;
};

class RequestFuzzer {
 public:
  explicit RequestFuzzer(std::uint64_t seed);

  FuzzRequest next();
  // What was answered: objects to come back to, tokens to go on with.
  void learn(const FuzzRequest& request, int status, std::string_view body);

 private:
  struct Place {
    const Resource* resource;
    std::string ns, name;
    std::string collection() const;
    std::string path() const { return collection() + "/" + name; }
  };

  std::uint64_t below(std::uint64_t n) { return rng_.below(n); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <typename List>
  auto any(const List& list) {
    return list[below(std::size(list))];
  }

  Place place();
  json::Value object(const Place& place);
  json::Value hostile();
  void twist(json::Value& value, const Type* type, int depth);
  void encode(FuzzRequest& request, const Place& place, json::Value tree);
  void break_bytes(std::string& bytes);
  std::string path_segment(std::string segment);
  std::string query(std::string_view verb);
  std::string selector();
  void patch(FuzzRequest& request, const Place& place);
  std::string pointer(const json::Value& tree);
  void subresource(FuzzRequest& request, const Place& place);
  void decorate(FuzzRequest& request);

  SeededRng rng_;
  std::map<std::string, json::Value> live_;  // the last object seen at a path
  std::deque<Place> made_;                   // where there was an object
  std::deque<std::string> tokens_;           // continue
  std::deque<std::string> versions_;         // resourceVersions
};

}  // namespace monopod::api
