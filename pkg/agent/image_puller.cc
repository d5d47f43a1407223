#include "agent/image_puller.h"

#include "base/bytes.h"
#include "base/strings.h"
#include "image/reference.h"

namespace monopod::agent {

namespace {

// "https://index.docker.io/v1/" and "docker.io" are the same registry.
std::string registry_of(std::string_view key) {
  for (std::string_view scheme : {"https://", "http://"})
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  std::string host(key.substr(0, key.find('/')));
  if (host == "index.docker.io" || host == "registry-1.docker.io") return "docker.io";
  return host;
}

}  // namespace

std::optional<image::PullOptions> find_credentials(const ReferencedObjects::Data& secret, const std::string& reference) {
  auto parsed = image::parse_reference(reference);
  if (!parsed) return std::nullopt;
  json::Value tree;
  if (auto modern = secret.values.find(".dockerconfigjson"); modern != secret.values.end()) {
    auto config = json::parse(modern->second);
    if (const json::Value* auths = config ? json::find(*config, {"auths"}) : nullptr) tree = *auths;
  } else if (auto old = secret.values.find(".dockercfg"); old != secret.values.end()) {
    if (auto config = json::parse(old->second)) tree = std::move(*config);
  }
  if (!tree.is_object()) return std::nullopt;
  for (const auto& entry : tree.get_object()) {
    if (registry_of(entry.key()) != parsed->domain) continue;
    image::PullOptions out;
    out.username = json::get_string(entry.value(), {"username"});
    out.password = json::get_string(entry.value(), {"password"});
    out.token = json::get_string(entry.value(), {"registrytoken"});
    if (out.username.empty())
      if (auto both = parse_base64(json::get_string(entry.value(), {"auth"}))) {
        auto [user, password] = split_once(*both, ':');
        out.username = user;
        out.password = password.value_or("");
      }
    return out;
  }
  return std::nullopt;
}

async::Task<Result<>> ImagePuller::pull(std::string reference, const Pod& pod) {
  image::PullOptions options;
  std::string ns = pod.namespace_name;
  std::vector<std::string> secrets = pod.pull_secrets;
  for (const std::string& name : secrets) {
    auto secret = co_await objects_.read({ObjectKind::kSecret, ns, name});
    if (!secret || !*secret) continue;  // as the field: a missing secret only means no credentials
    if (auto found = find_credentials(**secret, reference)) {
      options = std::move(*found);
      break;
    }
  }
  std::string key = cat(reference, "\n", options.username, "\n", options.token);
  if (auto running = flights_.find(key); running != flights_.end()) {
    std::shared_ptr<Flight> flight = running->second;
    CO_TRY(co_await flight->done.wait());  // forever: the pull has its own limits
    co_return flight->result;
  }
  auto flight = std::make_shared<Flight>(executor_);
  flights_[key] = flight;
  struct Landing {  // also when the pull is cancelled
    ImagePuller& puller;
    std::string key;
    std::shared_ptr<Flight> flight;
    ~Landing() {
      flight->done.set();
      puller.flights_.erase(key);
    }
  } landing{*this, key, flight};
  auto pulled = co_await images_.pull(reference, std::move(options));
  flight->result = pulled ? Result<>() : Result<>(fail(pulled.error()));
  co_return flight->result;
}

}  // namespace monopod::agent
