#include "proxy/upstream/cluster.h"

#include <algorithm>

#include "base/log.h"
#include "proxy/h2/upstream.h"
#include "proxy/limits.h"
#include "proxy/listener/worker.h"
#include "proxy/upstream/hash_table.h"

namespace monopod::proxy {

Cluster::Cluster(Worker& worker, std::shared_ptr<const ClusterConfig> config, std::shared_ptr<ClusterStats> stats)
    : worker_(worker), config_(std::move(config)), stats_(std::move(stats)) {
  for (const EndpointAddress& from : config_->addresses) add_endpoint(from);
  awaits_names_ = !config_->names.empty();
  arrange();
}

Endpoint& Cluster::add_endpoint(const EndpointAddress& from) {
  auto& endpoint = endpoints_.emplace_back(std::make_unique<Endpoint>());
  endpoint->address = from.address;
  endpoint->label = from.address.format();
  endpoint->weight = from.weight;
  endpoint->level = from.level;
  return *endpoint;
}

// What is known of an endpoint does not depend on the rest of the configuration.
void Cluster::succeed(const Cluster& before) {
  for (auto& endpoint : endpoints_) {
    auto old = std::ranges::find_if(before.endpoints_, [&endpoint](const auto& e) { return e->label == endpoint->label; });
    if (old == before.endpoints_.end()) {
      endpoint->since_ms = worker_.now_ms();
      continue;
    }
    endpoint->healthy = (*old)->healthy;
    endpoint->since_ms = (*old)->since_ms;
    endpoint->ejections = (*old)->ejections;
    endpoint->ejected_until_ms = (*old)->ejected_until_ms;
    endpoint->latency_ms = (*old)->latency_ms;
    endpoint->latency_at_ms = (*old)->latency_at_ms;
  }
}

// Those that stay keep their connections and what is known of them; those that go end with what they carry.
void Cluster::set_endpoints(const std::vector<EndpointAddress>& wanted) {
  std::vector<std::unique_ptr<Endpoint>> before = std::move(endpoints_);
  endpoints_.clear();
  bool first = std::exchange(awaits_names_, false);
  for (const EndpointAddress& from : wanted) {
    auto old = std::ranges::find_if(before, [&from, label = from.address.format()](const auto& e) { return e && e->label == label && e->level == from.level; });
    if (old != before.end()) {
      (*old)->weight = from.weight;
      endpoints_.push_back(std::move(*old));
    } else if (Endpoint& added = add_endpoint(from); !first) {
      added.since_ms = worker_.now_ms();
    }
  }
  for (auto& old : before) {
    if (!old) continue;
    old->gone = true;
    while (!old->idle.empty()) give(old->idle.back(), false);
    for (H2Upstream* shared : std::vector<H2Upstream*>(old->http2)) shared->drain();
    departed_.push_back(std::move(old));
  }
  std::erase_if(departed_, [](const auto& e) { return e->pins == 0 && e->active == 0 && e->connections == 0; });
  if (hashes()) {
    std::vector<EndpointSpec> all;
    for (const auto& e : endpoints_) all.push_back({.address = e->label, .weight = e->weight});
    hash_table_ = make_hash_table(config_->spec.balancer, all);
  }
  arrange();
  worker_.endpoints_changed(*this);
  for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) wake_waiter();
}

Endpoint* Cluster::pick(std::uint64_t hash, const Endpoint* not_this, const Address* original) {
  if (!config_->spec.original_destination) return pick(hash, not_this);
  if (original == nullptr) return nullptr;
  std::string label = original->format();
  auto known = by_address_.find(label);
  if (known == by_address_.end()) {
    if (endpoints_.size() >= kOriginalDestinationsMax) forget_unused();
    if (endpoints_.size() >= kOriginalDestinationsMax) return nullptr;
    Endpoint& made = *endpoints_.emplace_back(std::make_unique<Endpoint>());
    made.address = *original;
    made.label = label;
    known = by_address_.emplace(std::move(label), &made).first;
  }
  known->second->picked_ms = worker_.now_ms();
  return known->second;
}

// Those that nobody can hold any more: a request that is between two attempts holds one without being counted.
void Cluster::forget_unused() {
  std::erase_if(by_address_, [this](const auto& entry) {
    const Endpoint* e = entry.second;
    return e->active == 0 && e->pins == 0 && e->connections == 0 && e->picked_ms + kOriginalDestinationIdleMs < worker_.now_ms();
  });
  std::erase_if(endpoints_, [this](const auto& e) { return !by_address_.contains(e->label); });
}

UpstreamConnection* Cluster::take(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed, const Address* client) {
  if (config_->spec.http2) return take_stream(endpoint, fresh, failed);
  if (!endpoint.idle.empty() && !fresh && !config_->spec.original_source) {
    UpstreamConnection* connection = endpoint.idle.back();
    endpoint.idle.pop_back();
    worker_.wheel().disarm(*connection);
    connection->mark_reused();
    return connection;
  }
  return connect(endpoint, failed, client);
}

// The first connection with room; the next one only where all are full.
UpstreamConnection* Cluster::take_stream(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed) {
  auto found = fresh ? endpoint.http2.end() : std::ranges::find_if(endpoint.http2, [](const H2Upstream* c) { return c->has_room(); });
  bool reused = found != endpoint.http2.end();
  H2Upstream* carrier = reused ? *found : nullptr;
  if (!reused) {
    UpstreamConnection* connection = connect(endpoint, failed);
    if (connection == nullptr) return nullptr;
    carrier = endpoint.http2.emplace_back(new H2Upstream(*connection));  // retires itself
  }
  std::shared_ptr<H2Stream> stream = carrier->open_stream();
  auto* out = new (worker_.blocks()) UpstreamConnection(shared_from_this(), endpoint, stream);
  stream->set_user(out);
  if (reused) out->mark_reused();
  return out;
}

UpstreamConnection* Cluster::connect(Endpoint& endpoint, std::optional<std::string>& failed, const Address* client) {
  if (connections_ >= config_->spec.connections_max) {
    // Another endpoint's idle connection gives way.
    auto other = std::ranges::find_if(endpoints_, [](const auto& e) { return !e->idle.empty(); });
    if (other == endpoints_.end()) return nullptr;
    give((*other)->idle.front(), false);
  }
  std::unique_ptr<UpstreamConnection> connection(new (worker_.blocks()) UpstreamConnection(shared_from_this(), endpoint));
  ++connections_;
  stats_->connections_active.add();
  stats_->connections_total.add();
  if (Result<> connected = connection->connect(config_->spec.original_source ? client : nullptr); !connected) {
    failed = connected.error().message();
    return nullptr;
  }
  return connection.release();
}

void Cluster::give(UpstreamConnection* connection, bool reusable) {
  connection->set_user(nullptr);
  Endpoint& endpoint = connection->endpoint();
  if (reusable && !draining_ && !config_->spec.original_source && !endpoint.gone && !connection->socket().is_stream()) {
    endpoint.idle.push_back(connection);
    worker_.wheel().arm(*connection, worker_.now_ms() + static_cast<std::uint64_t>(config_->spec.idle_timeout.count()));
  } else {
    std::erase(endpoint.idle, connection);
    worker_.wheel().disarm(*connection);
    connection->socket().close();
    worker_.poller().retire(connection);
  }
  if (!waiting_.empty()) wake_waiter();
}

void Cluster::shaken(UpstreamConnection& connection) {
  connection.position = shaken_.size();
  shaken_.push_back(&connection);
}

void Cluster::cut_what_is_over() {
  for (UpstreamConnection* connection : shaken_) connection->cut_if_over();
}

void Cluster::look_up_revocations(const ClusterConfig& next) {
  if (!next.revocations) return;
  for (UpstreamConnection* connection : shaken_) connection->look_up_revocation(*next.revocations, next.spec.tls->peers.grace);
}

void Cluster::closed(UpstreamConnection* connection, bool in_list) {
  if (in_list) {
    shaken_[connection->position] = shaken_.back();
    shaken_[connection->position]->position = connection->position;
    shaken_.pop_back();
  }
  --connections_;
  stats_->connections_active.subtract();
  if (!waiting_.empty()) wake_waiter();
}

void Cluster::wake_waiter() {
  Waiter* waiter = waiting_.front();
  waiting_.erase(waiting_.begin());
  stats_->pending.subtract();
  waiter->on_capacity();
}

bool Cluster::begin_request(Endpoint& endpoint) {
  if (requests_ >= config_->spec.requests_max) return false;
  if (config_->spec.retry_budget) retry_budget_.note_request(*config_->spec.retry_budget, worker_.now_ms());
  ++requests_;
  ++endpoint.active;
  stats_->requests_active.add();
  stats_->requests_total.add();
  return true;
}

void Cluster::end_request(Endpoint& endpoint) {
  --requests_;
  --endpoint.active;
  stats_->requests_active.subtract();
}

bool Cluster::begin_retry(bool first) {
  const ClusterSpec& spec = config_->spec;
  if ((first && retries_ >= spec.retries_max) || (spec.retry_budget && !retry_budget_.take(*spec.retry_budget, worker_.now_ms()))) {
    stats_->retry_overflows.add();
    return false;
  }
  if (!first) return true;
  ++retries_;
  stats_->retries.add();
  return true;
}

bool Cluster::wait(Waiter& waiter) {
  if (waiting_.size() >= config_->spec.pending_max) return false;
  waiting_.push_back(&waiter);
  stats_->pending.add();
  return true;
}

void Cluster::stop_waiting(Waiter& waiter) {
  if (std::erase(waiting_, &waiter) > 0) stats_->pending.subtract();
}

void Cluster::drain() {
  draining_ = true;
  for (auto& endpoint : endpoints_) {
    while (!endpoint->idle.empty()) give(endpoint->idle.back(), false);
    for (H2Upstream* shared : std::vector<H2Upstream*>(endpoint->http2)) shared->drain();
  }
}

}  // namespace monopod::proxy
