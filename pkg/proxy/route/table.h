// Which route takes a request: the virtual host by its name, then its routes in their order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/codec/head.h"
#include "proxy/config/reader.h"
#include "proxy/config/spec.h"
#include "proxy/route/match.h"

namespace monopod::proxy {

class HeadEdits;

inline constexpr std::size_t kNoCluster = ~std::size_t{0};

struct NamedMatcher {
  std::string name;
  TextMatcher matcher;
};

struct Route {
  RouteSpec spec;
  std::string name;  // as configured, else "<virtual host>/<number>"
  PathMatcher path;
  std::vector<NamedMatcher> headers, query;
  struct Target {
    std::size_t cluster;  // index in the snapshot
    std::uint32_t up_to;  // sum of the weights so far
  };
  std::vector<Target> targets;
  std::size_t mirror_cluster = kNoCluster;
  std::size_t index = 0;  // among all routes of the listener

  // pick: any number.
  std::size_t cluster_for(std::uint64_t pick) const;
};

// What routes look at.
struct RouteQuery {
  const Head& head;
  std::string_view path;   // normalised, without the query
  std::string_view query;  // without '?'
};

class RouteTable {
 public:
  // cluster_index: name to index. The first error goes to error, its path below `path`.
  static std::unique_ptr<RouteTable> compile(const std::vector<VirtualHostSpec>& hosts, const std::string& path,
                                             const std::unordered_map<std::string, std::size_t>& cluster_index, std::optional<ConfigError>& error);
  // host: as the client sent it, with or without a port. Null: no virtual host, or none of its routes. budget spent: refuse the request.
  const Route* find(std::string_view host, const RouteQuery& query, MatchBudget& budget) const;
  std::size_t size() const { return count_; }
  // Every route, by index.
  std::vector<const Route*> all() const;

 private:
  struct Host {
    std::string name;
    std::vector<std::unique_ptr<Route>> routes;
  };
  struct TextHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  const Host* find_host(std::string_view host) const;
  std::vector<Host> hosts_;
  std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>> exact_, suffixes_;  // suffixes with their dot
  std::size_t any_ = kNoCluster;
  std::size_t count_ = 0;
};

// True where all of them match. Of several fields of a name any may. edits: what changes on the way counts, what was taken off does not; null: as it came.
bool headers_match(const std::vector<NamedMatcher>& matchers, const Head& head, MatchBudget& budget, const HeadEdits* edits = nullptr);

}  // namespace monopod::proxy
