// Which addresses of the node's pod CIDR are taken. In memory; Network keeps the leases durable.
#pragma once

#include <optional>
#include <set>

#include "network/address.h"

namespace monopod::network {

class AddressPool {
 public:
  // An IPv4 CIDR of at most 30 prefix bits. The network address, the first host address (the gateway) and the last are never given.
  explicit AddressPool(Cidr cidr);

  // Round robin, so that an address rests before its next owner gets it. nullopt when all are taken.
  std::optional<IpAddress> take();
  // False if outside of the pool or taken already.
  bool take(const IpAddress& ip);
  void release(const IpAddress& ip);

  IpAddress gateway() const { return IpAddress::v4(first_ - 1); }
  std::size_t taken() const { return taken_.size(); }
  std::size_t size() const { return last_ - first_ + 1; }

 private:
  std::uint32_t first_;  // host order
  std::uint32_t last_;
  std::uint32_t next_;
  std::set<std::uint32_t> taken_;
};

}  // namespace monopod::network
