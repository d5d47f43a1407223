// Tables that map a hash to an endpoint so that few move when endpoints come and go.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "proxy/config/spec.h"

namespace monopod::proxy {

// FNV-1a with a final mix (splitmix64): the same in every process and on every node.
std::uint64_t stable_hash(std::string_view bytes, std::uint64_t seed = 0);

// Maglev (Eisenbud et al., NSDI 2016): every endpoint fills slots in an order of its own, as often as its weight says.
// Empty for balancers that use none.
std::vector<std::uint16_t> make_hash_table(ClusterSpec::Balancer balancer, const std::vector<EndpointSpec>& endpoints);
std::vector<std::uint16_t> make_maglev(const std::vector<EndpointSpec>& endpoints);
// Consistent hashing (Karger et al., 1997): endpoints at points of a ring, 100 per weight; spread over a table of equal slots.
std::vector<std::uint16_t> make_ring(const std::vector<EndpointSpec>& endpoints);

}  // namespace monopod::proxy
