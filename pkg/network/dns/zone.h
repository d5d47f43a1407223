// The cluster's zone as an index of names: what CoreDNS's kubernetes plugin would answer for a DnsTable.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "network/dns/message.h"
#include "network/dns/table.h"

namespace monopod::network::dns {

class Zone {
 public:
  struct Options {
    std::string zone = "cluster.local";
    std::uint32_t ttl = 5;
    bool pod_records = true;
    std::uint32_t serial = 1;
  };
  Zone(const DnsTable& table, Options options);

  enum class Kind { kElsewhere, kAnswer, kAlias };
  struct Result {
    Kind kind = Kind::kElsewhere;  // kElsewhere: not ours to answer. kAlias: reply holds a CNAME, alias its target: follow it
    Reply reply{};
    std::string alias{};  // wire form
  };
  // turn: rotates address records, so that clients that take the first spread.
  Result find(const Query& query, std::uint32_t turn) const;

 private:
  struct Service {
    std::uint16_t port = 0;
    std::string target{};  // wire form
    std::vector<IpAddress> ips{};
  };
  struct Node {
    std::vector<IpAddress> ips{};
    std::vector<Service> services{};
    std::string alias{};
    std::vector<std::string> pointers{};
    std::string text{};
  };

  Node& at(std::string_view dotted);  // makes the names between it and the zone exist
  void add_service(const DnsService& service);
  void add_endpoints(const DnsService& service, const std::string& base);
  void add_pointer(const IpAddress& ip, std::string_view dotted);
  bool find_pod(std::string_view relative, Node& out) const;
  void fill(const Query& query, const Node& node, std::uint32_t turn, Reply& reply) const;
  Record soa() const;
  Record name_record(std::string name, std::uint16_t type, std::string target) const { return {std::move(name), type, options_.ttl, std::move(target)}; }

  Options options_;
  std::string zone_wire_;
  std::unordered_map<std::string, Node> nodes_;  // by wire name
  std::unordered_map<std::string, bool> namespaces_;
};

// "10.42.0.7" -> "7.0.42.10.in-addr.arpa", and the like for IPv6.
std::string reverse_name(const IpAddress& ip);

}  // namespace monopod::network::dns
