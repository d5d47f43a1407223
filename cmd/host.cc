#include "cmd/host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "sys/fd.h"
#include "sys/features.h"

namespace monopod::cmd {
namespace {
constexpr int kFirstListenFd = 3;  // sd_listen_fds(3)
}

std::vector<int> take_inherited_sockets() {
  const char* count = std::getenv("LISTEN_FDS");
  const char* pid = std::getenv("LISTEN_PID");
  std::vector<int> fds;
  if (count != nullptr && pid != nullptr && parse_int<pid_t>(pid) == getpid())
    for (int i = 0; i < parse_int<int>(count).value_or(0); ++i) fds.push_back(kFirstListenFd + i);
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  return fds;
}

Result<HostIdentity> identify_host(const std::string& name) {
  std::string wanted = name;
  if (wanted.empty()) {
    utsname host{};
    if (::uname(&host) != 0) return fail_errno("read the host's name");
    wanted = host.nodename;
  }
  wanted = to_lower(wanted);
  auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool good = !wanted.empty() && wanted.size() <= 253 && alnum(wanted.front()) && alnum(wanted.back());
  for (char c : wanted) good = good && (alnum(c) || c == '-' || c == '.');
  if (!good) return fail(Code::kInvalidArgument, cat("node name \"", wanted, "\": want lowercase letters, digits, '-' and '.'; set --node-name"));
  return HostIdentity{.node_name = wanted};
}

Result<ListenAddress> parse_listen_address(const std::string& text) {
  std::size_t colon = text.rfind(':');
  auto port = colon == std::string::npos ? std::nullopt : parse_int<std::uint16_t>(std::string_view(text).substr(colon + 1));
  if (!port) return fail(Code::kInvalidArgument, cat("listen address \"", text, "\": want address:port"));
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) host = "0.0.0.0";
  if (!network::parse_ip(host)) return fail(Code::kInvalidArgument, cat("listen address \"", text, "\": \"", host, "\" is no IP address"));
  return ListenAddress{.host = host, .port = *port};
}

std::vector<std::string> local_addresses() {
  std::vector<std::string> out;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  for (ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    char text[INET6_ADDRSTRLEN] = {};
    if (entry->ifa_addr->sa_family == AF_INET) {
      sockaddr_in address{};
      std::memcpy(&address, entry->ifa_addr, sizeof address);
      if (ntohl(address.sin_addr.s_addr) >> 24 == 127) continue;
      ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 address{};
      std::memcpy(&address, entry->ifa_addr, sizeof address);
      if (IN6_IS_ADDR_LOOPBACK(&address.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) continue;
      ::inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    } else {
      continue;
    }
    out.emplace_back(text);
  }
  ::freeifaddrs(list);
  return out;
}

std::vector<network::IpAddress> read_upstreams(const std::string& path) {
  std::vector<network::IpAddress> out;
  Result<std::string> text = read_file(path);
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    line = trim(line);
    if (!line.starts_with("nameserver")) continue;
    Result<network::IpAddress> ip = network::parse_ip(trim(line.substr(10)));
    if (ip && !ip->is_loopback()) out.push_back(*ip);
  }
  return out;
}

std::string first_address(const std::string& cidr) {
  Result<network::Cidr> parsed = network::parse_cidr(cidr);
  if (!parsed || !parsed->address.is_v4()) return "127.0.0.1";
  return network::format_ip(network::IpAddress::v4(parsed->address.v4_host_order() + 1));
}

Result<std::string> read_file(const std::string& path) {
  sys::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno("read " + path);
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0) return fail_errno("read " + path);
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > 16U << 20) return fail(Code::kResourceExhausted, "read " + path + ": larger than 16 MiB");
  }
}

Result<> make_private_dir(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), at == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST) return fail_errno("make directory " + part);
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("inspect " + path);
  if (info.st_uid == geteuid() && (info.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) != 0) return fail_errno("restrict " + path);
  return {};
}

Result<> check_kernel() {
  for (const sys::Finding& finding : sys::judge_features(sys::probe_features())) {
    if (finding.fatal) return fail(Code::kFailedPrecondition, finding.advice.empty() ? finding.text : finding.text + "; " + finding.advice);
    log::warn("this host lacks a feature", {{"what", finding.text}, {"advice", finding.advice}});
  }
  return {};
}

}  // namespace monopod::cmd
