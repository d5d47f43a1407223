// Links, addresses, routes and neighbours over rtnetlink(7), of the namespace of the thread that opened it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "network/address.h"
#include "network/netlink/socket.h"

namespace monopod::network::netlink {

using Mac = std::array<std::uint8_t, 6>;
std::string format_mac(const Mac& mac);

struct Link {
  int index = 0;
  std::string name{};
  std::string kind{};  // "bridge", "veth", "" for hardware and lo
  bool up = false;           // wanted up
  bool operational = false;  // carrier seen, queue attached: packets pass
  int master = 0;  // index of its bridge, 0 for none
  std::uint32_t mtu = 0;
  Mac mac{};
};

struct LinkAddress {
  int link = 0;
  IpAddress ip{};
  std::uint8_t prefix_bits = 0;
  bool global = true;
};

struct Route {
  Cidr to{};          // unset: default
  IpAddress via{};    // unset: on link
  int link = 0;
  IpAddress source{};  // preferred source; unset: the kernel chooses
  bool unreachable = false;  // packets are refused at once; link is not used
};

struct VethRequest {
  std::string name{};       // host end, made down
  Mac mac{};
  std::string peer_name{};
  int peer_namespace = -1;  // fd; borrowed
  Mac peer_mac{};
  std::uint32_t mtu = 1500;
};

class RouteSocket {
 public:
  static Result<RouteSocket> open();

  Result<std::optional<Link>> find_link(std::string_view name);
  Result<std::vector<Link>> links();
  Result<> add_bridge(std::string_view name, const Mac& mac, std::uint32_t mtu);
  Result<> add_veth(const VethRequest& request);
  Result<> delete_link(int index);  // absent is no error
  Result<> set_up(int index);
  Result<> set_mtu(int index, std::uint32_t mtu);

  Result<std::vector<LinkAddress>> addresses();  // both families, all links
  Result<> add_address(int link, const IpAddress& ip, std::uint8_t prefix_bits);  // present is no error
  Result<> remove_address(int link, const IpAddress& ip, std::uint8_t prefix_bits);
  Result<> replace_route(const Route& route);
  Result<> delete_route(const Route& route);  // absent is no error
  // The IPv4 default route of the main table with the lowest metric.
  Result<std::optional<Route>> default_route();
  // A permanent neighbour: never asked for by ARP, so never spoofed.
  // Packets with any bit of mark are this host's own, wherever they go: a rule for a table of that one route (ip rule, ip route add local default dev lo).
  // Present is no error; nor, for the other, absent.
  Result<> keep_marked(bool ip6, std::uint32_t mark, std::uint32_t table);
  Result<> let_marked_go(bool ip6, std::uint32_t mark, std::uint32_t table);
  Result<> replace_neighbour(int link, const IpAddress& ip, const Mac& mac);
  Result<> delete_neighbour(int link, const IpAddress& ip);  // absent is no error

 private:
  explicit RouteSocket(Socket socket) : socket_(std::move(socket)) {}
  Result<> change_link(int index, std::string_view what, const std::function<void(Writer&)>& attributes);

  Socket socket_;
};

// Parsers of single kernel messages; nullopt for anything malformed or of another type.
std::optional<Link> parse_link(const Message& message);
std::optional<LinkAddress> parse_address(const Message& message);

}  // namespace monopod::network::netlink
