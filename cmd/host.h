// What the node process must know about the host it runs on.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "network/address.h"

namespace monopod::cmd {

struct HostIdentity {
  std::string node_name;  // RFC 1123 subdomain, lowercase
};
// name: as configured; empty takes the host's own, lowercased. kInvalidArgument for what cannot name a Node.
Result<HostIdentity> identify_host(const std::string& name);

struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
};
Result<ListenAddress> parse_listen_address(const std::string& text);  // "0.0.0.0:6443", "[::]:6443"

std::vector<std::string> local_addresses();                                // of every interface but loopback, in this namespace
std::vector<network::IpAddress> read_upstreams(const std::string& path);   // nameservers of a resolv.conf, loopback ones left out
std::string first_address(const std::string& cidr);                        // "10.43.0.1" of "10.43.0.0/16"
Result<std::string> read_file(const std::string& path);                    // whole, up to 16 MiB

// Descriptors of sockets handed in by systemd, `monopod trial` or the program before this one (sd_listen_fds(3)); once.
std::vector<int> take_inherited_sockets();

inline constexpr std::chrono::milliseconds kPredecessorGoes{2000};  // how long the processes of a killed server may hold its data dir

// With its parents, 0700 if it is ours.
Result<> make_private_dir(const std::string& path);
// Warns of what the kernel lacks; kFailedPrecondition where containers cannot run without it.
Result<> check_kernel();

}  // namespace monopod::cmd
