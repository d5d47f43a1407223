// Bootstrap tokens (api/authn/bootstrap_tokens.h): what has expired goes, and kube-public/cluster-info carries a signature by each token
// that may sign, so that a machine which knows a token can trust what it reads there without a certificate.
#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "pki/digest.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::string_view kSigned = "kube-public/cluster-info";
constexpr std::string_view kSignaturePrefix = "jws-kubeconfig-";

std::string datum(const json::Value& secret, std::string_view key) { return parse_base64(json::get_string(secret, {"data", key})).value_or(std::string()); }

// A detached JWS (RFC 7515 appendix F), HS256 with the token's secret.
std::string signature(std::string_view content, std::string_view id, std::string_view secret) {
  std::string header = format_base64url(cat(R"({"alg":"HS256","kid":")", id, "\"}"));
  return cat(header, "..", format_base64url(pki::hmac_sha256(secret, cat(header, '.', format_base64url(content)))));
}

class BootstrapTokens final : public QueueController {
 public:
  explicit BootstrapTokens(const ControllerParts& parts)
      : QueueController(parts, "bootstrap-token-controller", 1),
        tokens_(parts.informers.informer(resources::kSecrets, {.ns = "kube-system", .field_selector = "type=bootstrap.kubernetes.io/token"})),
        info_(parts.informers.informer(resources::kConfigMaps, {.ns = "kube-public", .field_selector = "metadata.name=cluster-info"})) {
    watch_keys(tokens_);
    watch_keys(info_);
    tokens_.add_handler([this](const ObjectPtr&, const ObjectPtr&) { queue_.add(std::string(kSigned)); });
  }

 private:
  static std::optional<WallTime> expiration(const json::Value& secret) {
    auto end = parse_rfc3339(datum(secret, "expiration"));
    return end ? std::optional(*end) : std::nullopt;
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    if (key == kSigned) co_return co_await sign();
    ObjectPtr token = tokens_.indexer().find(key);
    std::optional<WallTime> end = token ? expiration(token->tree()) : std::nullopt;
    if (!end) co_return Outcome{};
    WallTime now = parts_.time.wall();
    if (now < *end) co_return Outcome{.requeue_after = *end - now};
    CO_TRY(co_await parts_.api.remove(resources::kSecrets, token->ns, token->name, {.precondition_uid = token->uid}));
    co_return Outcome{};
  }

  async::Task<Result<Outcome>> sign() {
    ObjectPtr found = info_.indexer().find(std::string(kSigned));
    if (!found) co_return Outcome{};
    json::Value info = found->tree();
    std::string content(json::get_string(info, {"data", "kubeconfig"}));
    if (content.empty()) co_return Outcome{};
    json::Object data;
    for (const auto& [name, value] : *json::get_object(info, {"data"}))
      if (!std::string_view(name).starts_with(kSignaturePrefix)) data[name] = value;
    for (const ObjectPtr& token : tokens_.indexer().list()) {
      json::Value secret = token->tree();
      std::optional<WallTime> end = expiration(secret);
      if (datum(secret, "usage-bootstrap-signing") != "true" || (end && parts_.time.wall() >= *end)) continue;
      std::string id = datum(secret, "token-id");
      data[cat(kSignaturePrefix, id)] = signature(content, id, datum(secret, "token-secret"));
    }
    if (*json::get_object(info, {"data"}) == data) co_return Outcome{};
    info.get_object()["data"] = std::move(data);
    CO_TRY(co_await parts_.api.update(resources::kConfigMaps, "kube-public", "cluster-info", std::move(info), {}));
    co_return Outcome{};
  }

  client::Informer& tokens_;
  client::Informer& info_;
};

}  // namespace

std::unique_ptr<Controller> make_bootstrap_token_controller(const ControllerParts& parts) { return std::make_unique<BootstrapTokens>(parts); }

}  // namespace monopod::controllers
