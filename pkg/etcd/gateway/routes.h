// The paths of the JSON gateway, by what they call. Paths without method behind them yet are answered with 501.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace monopod::etcd {

enum class Streams : std::uint8_t { kNone, kAnswers, kBoth };

struct Route {
  std::string_view path;     // below /v3
  std::string_view method;   // of gRPC
  std::string_view request;  // messages, as schema.h names them
  std::string_view answer;
  Streams streams = Streams::kNone;
};

std::span<const Route> routes();
// path with its "/v3" or "/v3beta" (which etcd 3.5 takes for the same). Null where there is none.
const Route* find_route(std::string_view path);

}  // namespace monopod::etcd
