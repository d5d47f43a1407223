#include "network/address_pool.h"

namespace monopod::network {

AddressPool::AddressPool(Cidr cidr)
    : first_(cidr.address.v4_host_order() + 2), last_(cidr.address.v4_host_order() + (1U << (32 - cidr.prefix_bits)) - 2), next_(first_) {}

std::optional<IpAddress> AddressPool::take() {
  if (taken_.size() >= size()) return std::nullopt;
  while (taken_.contains(next_)) next_ = next_ == last_ ? first_ : next_ + 1;
  std::uint32_t ip = next_;
  taken_.insert(ip);
  next_ = next_ == last_ ? first_ : next_ + 1;
  return IpAddress::v4(ip);
}

bool AddressPool::take(const IpAddress& ip) {
  if (!ip.is_v4()) return false;
  std::uint32_t number = ip.v4_host_order();
  if (number < first_ || number > last_ || !taken_.insert(number).second) return false;
  if (number >= next_) next_ = number == last_ ? first_ : number + 1;
  return true;
}

void AddressPool::release(const IpAddress& ip) { taken_.erase(ip.v4_host_order()); }

}  // namespace monopod::network
