#include "proxy/upstream/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "network/dns/resolver.h"
#include "proxy/limits.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {
namespace {

constexpr std::uint32_t kTries = 2;  // of all servers
constexpr std::uint64_t kRetryMs = 1'000, kRetryMsMax = 30'000;

std::uint64_t count_ms(Milliseconds ms) { return static_cast<std::uint64_t>(ms.count()); }

Address with_port(const network::IpAddress& ip, std::uint16_t port) {
  Address out;
  if (ip.is_v4()) {
    auto& four = reinterpret_cast<sockaddr_in&>(out.storage);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::ranges::copy(ip.bytes(), reinterpret_cast<std::uint8_t*>(&four.sin_addr));
    out.size = sizeof four;
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(out.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    std::ranges::copy(ip.bytes(), reinterpret_cast<std::uint8_t*>(&six.sin6_addr));
    out.size = sizeof six;
  }
  return out;
}

}  // namespace

// One name's questions, one after the other. A socket of its own for each, so a random source port, with a random id; only an answer to exactly that
// question is believed (CVE-2008-1447). One that did not fit into a datagram is asked for again by TCP (RFC 7766), and used as it is where that fails.
class ClusterResolver::Lookup final : public Pollable, public Timer {
 public:
  Lookup(ClusterResolver& owner, std::size_t index)
      : owner_(&owner), worker_(owner.worker_), config_(owner.cluster_.shared_config()), index_(index),
        candidates_(network::dns::names_to_try(config_->names[index].host, config_->spec.dns.search, static_cast<int>(config_->spec.dns.ndots))) {}

  void start() { ask(); }
  void abandon() {
    owner_ = nullptr;
    retire();
  }
  void on_ready(std::uint32_t) override {
    if (owner_ == nullptr || !fd_) return;
    if (partial_) return on_stream_ready();
    char packet[network::dns::kUdpBytesMax];
    while (owner_ != nullptr && fd_) {
      ssize_t n = ::recv(fd_.get(), packet, sizeof packet, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n < 0) return next_server("no answer");
      auto response = network::dns::parse_response({packet, static_cast<std::size_t>(n)}, id_, question_);
      if (response) return on_response(*response);
    }
  }
  void on_timer() override {
    if (owner_ == nullptr) return;
    if (partial_) return use_partial();
    next_server("no answer in time");
  }

 private:
  void ask() {
    wire_ = network::dns::encode_name(candidates_[candidate_]);
    if (!wire_) return next_candidate();
    question_ = network::dns::make_question(*wire_, type_);
    id_ = static_cast<std::uint16_t>(worker_.rng().next());
    const Address& server = config_->dns_servers[server_ % config_->dns_servers.size()];
    worker_.wheel().arm(*this, worker_.now_ms() + count_ms(config_->spec.dns.timeout));
    fd_ = sys::Fd(::socket(server.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    std::string query = network::dns::format_query(id_, question_, true);
    // Connected: the kernel drops what comes from elsewhere.
    if (!fd_ || ::connect(fd_.get(), server.get(), server.size) != 0 || !worker_.poller().add(fd_.get(), *this)) return fail_later();
    if (::send(fd_.get(), query.data(), query.size(), MSG_NOSIGNAL) < 0) fail_later();
  }
  void ask_by_stream(const network::dns::Response& partial) {
    partial_ = partial;
    received_.clear();
    std::string query = network::dns::format_query(id_, question_, true);
    unsent_ = {static_cast<char>(query.size() >> 8), static_cast<char>(query.size() & 0xff)};
    unsent_ += query;
    const Address& server = config_->dns_servers[server_ % config_->dns_servers.size()];
    worker_.wheel().arm(*this, worker_.now_ms() + count_ms(config_->spec.dns.timeout));
    fd_ = sys::Fd(::socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    bool begun = fd_ && (::connect(fd_.get(), server.get(), server.size) == 0 || errno == EINPROGRESS) && worker_.poller().add(fd_.get(), *this);
    if (!begun) fail_later();
  }
  void on_stream_ready() {
    while (!unsent_.empty()) {
      ssize_t n = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS)) return;
      if (n < 0) return use_partial();
      unsent_.erase(0, static_cast<std::size_t>(n));
    }
    char bytes[4096];
    for (;;) {
      ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n <= 0) return use_partial();
      received_.append(bytes, static_cast<std::size_t>(n));
      if (received_.size() < 2) continue;
      std::size_t size = static_cast<std::size_t>(static_cast<std::uint8_t>(received_[0])) << 8 | static_cast<std::uint8_t>(received_[1]);
      if (received_.size() < 2 + size) continue;
      auto response = network::dns::parse_response(std::string_view(received_).substr(2, size), id_, question_);
      if (!response || response->truncated) return use_partial();
      partial_.reset();
      return on_response(*response);
    }
  }
  void use_partial() {
    network::dns::Response partial = std::move(*partial_);
    partial_.reset();
    partial.truncated = false;
    on_response(partial);
  }
  // Not from within a caller that goes on with us.
  void fail_later() { worker_.wheel().arm(*this, worker_.now_ms()); }

  void next_server(std::string_view why) {
    if (++server_ < kTries * config_->dns_servers.size()) return ask();
    end_failed(why);
  }
  void next_candidate() {
    server_ = 0;
    type_ = network::dns::kA;
    if (++candidate_ < candidates_.size()) return ask();
    end_failed("no such host");
  }
  void on_response(const network::dns::Response& response) {
    if (response.truncated) return ask_by_stream(response);
    if (response.rcode == network::dns::kNameError) return next_candidate();
    if (response.rcode != network::dns::kNoError) return next_server("the server failed");
    std::vector<network::IpAddress> addresses = network::dns::addresses_of(response, *wire_);
    if (addresses.empty() && type_ == network::dns::kA) {
      type_ = network::dns::kAaaa;
      return ask();
    }
    if (addresses.empty()) return next_candidate();
    ClusterResolver* owner = std::exchange(owner_, nullptr);
    retire();
    owner->on_answer(index_, std::move(addresses), std::uint64_t{response.ttl_min} * 1000);
  }
  void end_failed(std::string_view why) {
    ClusterResolver* owner = std::exchange(owner_, nullptr);
    retire();
    owner->on_failure(index_, why);
  }
  void retire() {
    fd_.reset();
    worker_.wheel().disarm(*this);
    worker_.poller().retire(this);
  }

  ClusterResolver* owner_;
  Worker& worker_;
  std::shared_ptr<const ClusterConfig> config_;
  std::size_t index_;
  std::vector<std::string> candidates_;
  std::size_t candidate_ = 0, server_ = 0;
  network::dns::Type type_ = network::dns::kA;
  std::optional<std::string> wire_;
  std::string question_;
  std::uint16_t id_ = 0;
  sys::Fd fd_;
  std::optional<network::dns::Response> partial_;  // while it is asked by TCP
  std::string unsent_, received_;
};

ClusterResolver::ClusterResolver(Worker& worker, Cluster& cluster, const ClusterResolver* before) : worker_(worker), cluster_(cluster), names_(cluster.config().names.size()) {
  const std::vector<EndpointName>& names = cluster.config().names;
  bool known = false;
  for (std::size_t i = 0; i < names.size(); ++i) {
    names_[i].due_ms = worker_.now_ms();
    for (std::size_t k = 0; before != nullptr && k < before->names_.size(); ++k)
      if (before->cluster_.config().names[k].host == names[i].host) names_[i].known = before->names_[k].known;
    known = known || !names_[i].known.empty();
  }
  if (known) publish();
  worker_.wheel().arm(*this, worker_.now_ms());
}

ClusterResolver::~ClusterResolver() {
  for (Name& name : names_)
    if (name.running != nullptr) name.running->abandon();
}

void ClusterResolver::on_timer() {
  const ClusterConfig& config = cluster_.config();
  bool answered = false;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    Name& name = names_[i];
    if (name.running != nullptr || name.due_ms > worker_.now_ms()) continue;
    name.due_ms = kNever;
    std::vector<network::IpAddress> local = network::dns::find_in_hosts(config.spec.dns.hosts, config.names[i].host);
    if (local.empty() && config.names[i].host == "localhost") local.push_back(network::IpAddress::v4(0x7F000001U));
    if (!local.empty()) {
      name.known = std::move(local);  // until the next configuration, which follows the file
      answered = true;
      continue;
    }
    name.running = std::make_unique<Lookup>(*this, i).release();
    name.running->start();
  }
  if (answered) publish();
  arm_next();
}

void ClusterResolver::arm_next() {
  std::uint64_t due = kNever;
  for (const Name& name : names_) due = std::min(due, name.due_ms);
  if (due != kNever) worker_.wheel().arm(*this, due);
}

void ClusterResolver::on_answer(std::size_t index, std::vector<network::IpAddress> addresses, std::uint64_t ttl_ms) {
  const DnsSpec& spec = cluster_.config().spec.dns;
  cluster_.stats().lookups.add();
  Name& name = names_[index];
  name.running = nullptr;
  name.failures = 0;
  name.due_ms = worker_.now_ms() + std::clamp(ttl_ms, count_ms(spec.ttl_min), count_ms(spec.ttl_max));
  if (addresses.size() > kAddressesOfNameMax) addresses.resize(kAddressesOfNameMax);
  std::ranges::sort(addresses);  // servers shuffle them
  bool changed = name.known != addresses;
  name.known = std::move(addresses);
  arm_next();
  if (changed || cluster_.awaits_names()) publish();
}

void ClusterResolver::on_failure(std::size_t index, std::string_view why) {
  cluster_.stats().lookups.add();
  cluster_.stats().lookup_failures.add();
  Name& name = names_[index];
  name.running = nullptr;
  std::uint64_t pause = std::min(kRetryMs << std::min(name.failures++, 5U), kRetryMsMax);
  name.due_ms = worker_.now_ms() + pause;
  log::warn("name of an endpoint not found", {{"cluster", cluster_.config().spec.name}, {"name", cluster_.config().names[index].host}, {"why", why},
                                              {"addresses_kept", name.known.size()}, {"again_in_ms", pause}});
  arm_next();
  bool all_failed = std::ranges::all_of(names_, [](const Name& n) { return n.failures > 0 && n.known.empty(); });
  if (all_failed && cluster_.awaits_names()) cluster_.give_up_names();
}

void ClusterResolver::publish() {
  const ClusterConfig& config = cluster_.config();
  std::vector<EndpointAddress> all = config.addresses;
  for (std::size_t i = 0; i < names_.size(); ++i)
    for (const network::IpAddress& ip : names_[i].known) all.push_back({.address = with_port(ip, config.names[i].port), .weight = config.names[i].weight, .level = config.names[i].level});
  cluster_.set_endpoints(all);
}

}  // namespace monopod::proxy
