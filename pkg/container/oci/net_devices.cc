#include "container/oci/net_devices.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "sys/fd.h"

namespace monopod::container::oci {
namespace {

struct Request {
  struct nlmsghdr header;
  struct ifinfomsg link;
  std::array<char, 256> attributes;
};

void add_attribute(Request& request, unsigned short type, const void* bytes, std::size_t size) {
  auto* at = reinterpret_cast<char*>(&request) + NLMSG_ALIGN(request.header.nlmsg_len);
  struct rtattr attribute = {static_cast<unsigned short>(RTA_LENGTH(size)), type};
  std::memcpy(at, &attribute, sizeof attribute);
  std::memcpy(at + RTA_LENGTH(0), bytes, size);
  request.header.nlmsg_len = static_cast<__u32>(NLMSG_ALIGN(request.header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(size)));
}

Result<> move_one(int socket, const std::string& outside, const std::string& inside, int pid) {
  unsigned index = ::if_nametoindex(outside.c_str());
  if (index == 0) return fail_errno("find it");
  Request request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.link);
  request.header.nlmsg_type = RTM_NEWLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.link.ifi_index = static_cast<int>(index);
  // Down: the name of a device that is up cannot change on older kernels.
  request.link.ifi_change = IFF_UP;
  std::uint32_t target = static_cast<std::uint32_t>(pid);
  add_attribute(request, IFLA_NET_NS_PID, &target, sizeof target);
  add_attribute(request, IFLA_IFNAME, inside.c_str(), inside.size() + 1);
  if (::send(socket, &request, request.header.nlmsg_len, 0) < 0) return fail_errno("move it");
  alignas(struct nlmsghdr) std::array<char, 4096> answer;
  ssize_t n;
  do n = ::recv(socket, answer.data(), answer.size(), 0);
  while (n < 0 && errno == EINTR);
  if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(struct nlmsgerr)))) return fail(Code::kInternal, "move it: no answer");
  struct nlmsgerr error = {};
  std::memcpy(&error, answer.data() + NLMSG_LENGTH(0), sizeof error);
  if (error.error != 0) return fail(errno_error(-error.error, "move it"));
  return {};
}

}  // namespace

Result<> move_net_devices(const std::map<std::string, std::string>& devices, int pid) {
  if (devices.empty()) return {};
  sys::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return fail_errno("open netlink");
  for (const auto& [outside, inside] : devices) {
    Result<> moved = move_one(socket.get(), outside, inside, pid);
    if (!moved) return fail(std::move(moved).error().with(cat("linux.netDevices: ", outside)));
  }
  return {};
}

}  // namespace monopod::container::oci
