// What a name means, as functions of texts and messages: whoever asks, and on whichever loop.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "network/address.h"
#include "network/dns/message.h"

namespace monopod::network::dns {

// Of a text as /etc/hosts has it.
std::vector<IpAddress> find_in_hosts(std::string_view hosts, std::string_view name);
// Addresses of name (wire form) in an answer, along its chain of aliases only.
std::vector<IpAddress> addresses_of(const Response& response, std::string name);
// A name with fewer than ndots dots is tried with the search suffixes first, others as they are first; one that ends in a dot is itself alone.
std::vector<std::string> names_to_try(const std::string& name, const std::vector<std::string>& search, int ndots);

}  // namespace monopod::network::dns
