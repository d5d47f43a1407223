#include "cri/pod_network.h"

#include "base/log.h"
#include "base/strings.h"
#include "cri/messages.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr const char* kCidrKey = "network/cidr";
constexpr const char* kLeases = "cri-net";

}  // namespace

PodNetwork::PodNetwork(async::Executor executor, async::Pool& pool, async::StateStore& state, PodNetworkOptions options)
    : pool_(pool), state_(state), options_(std::move(options)), opened_(executor) {}

Task<Result<>> PodNetwork::open() {
  CO_TRY_ASSIGN(auto pairs, co_await state_.list(kRecords));
  for (const auto& [key, text] : pairs)
    if (key == kCidrKey)
      if (auto cidr = network::parse_cidr(text)) options_.cidr = *cidr;
  co_return Result<>();
}

Task<Result<>> PodNetwork::ready() {
  while (opening_) CO_TRY(co_await opened_.wait());  // forever: who opens it is bounded
  if (engine_) co_return Result<>();
  opening_ = true;
  struct Done {
    PodNetwork& network;
    ~Done() {
      network.opening_ = false;
      network.opened_.wake_all();
    }
  } done{*this};
  network::NetworkConfig config;
  config.bridge = options_.bridge;
  config.pod_cidr = options_.cidr;
  config.cluster_cidrs = {options_.cidr};
  config.services = false;
  config.sweep = false;
  config.table = "monopod-cri";
  config.bucket = kLeases;
  config.isolated_from = options_.isolated_from;
  CO_TRY_ASSIGN(engine_, co_await network::Network::open(std::move(config), state_, pool_));
  co_return Result<>();
}

Task<Result<>> PodNetwork::set_cidr(network::Cidr cidr) {
  if (cidr == options_.cidr) co_return Result<>();
  if (!cidr.address.is_v4() || cidr.prefix_bits < 16 || cidr.prefix_bits > 29) co_return refuse(Code::kInvalidArgument, {"pod_cidr ", network::format_cidr(cidr), ": want IPv4 from /16 to /29"});
  if (engine_) {
    if (!engine_->pods().empty())
      co_return refuse(Code::kFailedPrecondition, {"pod_cidr ", network::format_cidr(cidr), ": pods have addresses of ", network::format_cidr(options_.cidr)});
    CO_TRY(co_await engine_->teardown());
    engine_.reset();
  }
  CO_TRY(co_await state_.put(kRecords, kCidrKey, network::format_cidr(cidr)));
  options_.cidr = cidr;
  log::info("pods get addresses of another range", {{"cidr", network::format_cidr(cidr)}});
  co_return Result<>();
}

Task<Result<network::PodNetworkStatus>> PodNetwork::add(network::PodNetworkRequest request) {
  CO_TRY(co_await ready());
  co_return co_await engine_->add_pod(std::move(request));
}

Task<Result<>> PodNetwork::remove(std::string id) {
  if (!engine_) co_return Result<>();
  co_return co_await engine_->remove_pod(std::move(id));
}

Task<Result<>> PodNetwork::retain(std::vector<std::string> ids) {
  CO_TRY_ASSIGN(auto leases, co_await state_.list(kLeases));
  if (leases.empty() && ids.empty()) co_return Result<>();  // nothing was ever made, or nothing is left
  CO_TRY(co_await ready());
  CO_TRY_ASSIGN(auto removed, co_await engine_->retain(std::move(ids)));
  for (const std::string& id : removed) log::info("a link that no sandbox has is removed", {{"sandbox", id}});
  co_return Result<>();
}

}  // namespace monopod::cri
