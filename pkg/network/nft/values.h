// Private: bytes as attributes of nf_tables messages.
#pragma once

#include <linux/netfilter/nf_tables.h>

#include <span>
#include <string_view>

#include "network/netlink/socket.h"

namespace monopod::network::nft {

inline std::span<const std::uint8_t> bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

inline void put_value(netlink::Writer& w, std::uint16_t attribute, std::string_view value) {
  netlink::Nest nest(w, attribute);
  w.put(NFTA_DATA_VALUE, bytes_of(value));
}

}  // namespace monopod::network::nft
