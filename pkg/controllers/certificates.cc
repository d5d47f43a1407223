// Certificate signing requests: approves those of nodes for themselves, signs what is approved, and takes away what nobody waits for.
//
//   pending --approve (somebody, or we for nodes)--> approved --sign--> issued --1 h--> gone
//      | 24 h: gone        denied, failed --1 h--> gone
#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "pki/authority.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
constexpr client::Resource kRequests{"certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false};
constexpr client::Resource kReviews{"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", false};

constexpr std::string_view kClient = "kubernetes.io/kube-apiserver-client", kKubeletClient = "kubernetes.io/kube-apiserver-client-kubelet",
                           kKubeletServing = "kubernetes.io/kubelet-serving";
constexpr Duration kPendingMax = std::chrono::hours(24);
constexpr Duration kDecidedMax = std::chrono::hours(1);
constexpr Duration kLifetimeMax = std::chrono::days(365);
constexpr Duration kBackdate = std::chrono::minutes(5);

const json::Value* find_condition(const json::Value& request, std::string_view type) {
  if (const json::Array* list = json::get_array(request, {"status", "conditions"}))
    for (const json::Value& c : *list)
      if (json::get_string(c, {"type"}) == type) return &c;
  return nullptr;
}

bool uses_only(const json::Value& request, std::initializer_list<std::string_view> allowed, std::string_view needed) {
  bool has = false;
  if (const json::Array* usages = json::get_array(request, {"spec", "usages"}))
    for (const json::Value& u : *usages) {
      std::string_view name = u.is_string() ? std::string_view(u.get_string()) : std::string_view();
      if (std::ranges::find(allowed, name) == allowed.end()) return false;
      has = has || name == needed;
    }
  return has;
}

bool is_node(const pki::Identity& who) { return who.organizations.size() == 1 && who.organizations[0] == "system:nodes" && who.common_name.starts_with("system:node:"); }

// Why this signer does not sign that; empty where it does. Upstream's rules (KEP-1513), signer by signer.
std::string objection(const json::Value& request, std::string_view signer, const pki::Identity& who) {
  bool names = !who.dns_names.empty() || !who.ip_addresses.empty();
  if (signer == kClient) {
    if (!uses_only(request, {"digital signature", "key encipherment", "client auth"}, "client auth")) return "invalid usages for client certificate";
  } else if (signer == kKubeletClient) {
    if (!uses_only(request, {"digital signature", "key encipherment", "client auth"}, "client auth")) return "invalid usages for kubelet client certificate";
    if (!is_node(who)) return "subject organization is not system:nodes, or subject common name does not begin with system:node:";
    if (names || !who.uris.empty()) return "subject alternative names are not allowed";
  } else if (signer == kKubeletServing) {
    if (!uses_only(request, {"digital signature", "key encipherment", "server auth"}, "server auth")) return "invalid usages for kubelet serving certificate";
    if (!is_node(who)) return "subject organization is not system:nodes, or subject common name does not begin with system:node:";
    if (!names) return "DNS or IP subjectAltName is required";
    if (!who.uris.empty()) return "URI subjectAltNames are not allowed";
    if (json::get_string(request, {"spec", "username"}) != who.common_name) return "subject common name is not the requestor's name";
  }
  return {};
}

class CertificateController final : public QueueController {
 public:
  explicit CertificateController(const ControllerParts& parts) : QueueController(parts, "certificate-controller", 1), requests_(parts.informers.informer(kRequests)) { watch_keys(requests_); }

 private:
  async::Task<Result<Outcome>> reconcile(std::string name) override {
    ObjectPtr cached = requests_.indexer().find(name);
    if (!cached) co_return Outcome{};
    json::Value request = cached->tree();
    WallTime now = parts_.time.wall(), end = end_of(request);
    if (now >= end) {
      CO_TRY(co_await parts_.api.remove(kRequests, "", name, {.precondition_uid = cached->uid}));
      co_return Outcome{};
    }
    std::string_view signer = json::get_string(request, {"spec", "signerName"});
    bool ours = signer == kClient || signer == kKubeletClient || signer == kKubeletServing;
    bool approved = find_condition(request, "Approved") != nullptr, over = find_condition(request, "Denied") != nullptr || find_condition(request, "Failed") != nullptr;
    if (ours && !over && json::get_string(request, {"status", "certificate"}).empty()) {
      if (approved) CO_TRY(co_await sign(name, std::move(request), signer_of(*cached)));
      else if (signer == kKubeletClient) CO_TRY(co_await approve(name, std::move(request)));
    }
    co_return Outcome{.requeue_after = end - now};
  }

  static std::string signer_of(const client::Object& object) { return std::string(json::get_string(object.tree(), {"spec", "signerName"})); }

  static WallTime end_of(const json::Value& request) {
    auto at = [](std::string_view text) {
      auto time = parse_rfc3339(text);
      return time ? *time : WallTime{};
    };
    WallTime end = at(json::get_string(request, {"metadata", "creationTimestamp"})) + kPendingMax;
    for (std::string_view type : {"Approved", "Denied", "Failed"})
      if (const json::Value* c = find_condition(request, type)) return at(json::get_string(*c, {"lastUpdateTime"})) + kDecidedMax;
    return end;
  }

  static Result<pki::SigningRequest> parse(const json::Value& request) {
    auto pem = parse_base64(json::get_string(request, {"spec", "request"}));
    if (!pem) return fail(Code::kInvalidArgument, "spec.request: not base64");
    return pki::parse_signing_request_pem(*pem);
  }

  static void add_condition(json::Value& request, std::string_view type, std::string_view reason, std::string message) {
    json::Value& conditions = json::at_path(request, {"status", "conditions"});
    if (!conditions.is_array()) conditions = json::Array();
    conditions.get_array().push_back(json::Object{{"type", type}, {"status", "True"}, {"reason", reason}, {"message", std::move(message)}});
  }

  // A node's certificate for itself: by who may ask for its own, or who may ask for any node's.
  async::Task<Result<>> approve(std::string name, json::Value request) {
    auto parsed = parse(request);
    if (!parsed || !objection(request, kKubeletClient, parsed->identity).empty()) co_return Result<>();
    bool own = json::get_string(request, {"spec", "username"}) == parsed->identity.common_name;
    for (std::string_view permission : {"selfnodeclient", "nodeclient"}) {
      if (permission == "selfnodeclient" && !own) continue;
      json::Object spec{{"user", json::get_string(request, {"spec", "username"})},
                        {"resourceAttributes", json::Object{{"group", "certificates.k8s.io"}, {"resource", "certificatesigningrequests"}, {"verb", "create"}, {"subresource", permission}}}};
      for (const char* member : {"uid", "groups", "extra"})
        if (const json::Value* value = json::find(request, {"spec", member})) spec[member] = *value;
      json::Value review = json::Object{{"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"spec", std::move(spec)}};
      CO_TRY_ASSIGN(client::Object answer, co_await parts_.api.create(kReviews, "", std::move(review), {}));
      if (!json::get_bool(answer.tree(), {"status", "allowed"})) continue;
      add_condition(request, "Approved", "AutoApproved",
                    own && permission == "selfnodeclient" ? "Auto approving self kubelet client certificate after SubjectAccessReview." : "Auto approving kubelet client certificate after SubjectAccessReview.");
      CO_TRY(co_await parts_.api.update(kRequests, "", std::move(name), std::move(request), {.subresource = "approval"}));
      co_return Result<>();
    }
    co_return Result<>();
  }

  async::Task<Result<>> sign(std::string name, json::Value request, std::string signer) {
    auto parsed = parse(request);
    std::string why = parsed ? objection(request, signer, parsed->identity) : parsed.error().message();
    Result<std::string> certificate = fail(Code::kInvalidArgument, why);
    if (why.empty()) {
      std::int64_t seconds = json::get_int(request, {"spec", "expirationSeconds"});
      pki::IssueOptions options{.common_name = parsed->identity.common_name, .organizations = parsed->identity.organizations, .dns_names = parsed->identity.dns_names, .ip_addresses = parsed->identity.ip_addresses,
                                .uris = parsed->identity.uris, .server = signer == kKubeletServing, .client = signer != kKubeletServing,
                                .lifetime = seconds > 0 ? std::min<Duration>(std::chrono::seconds(seconds), kLifetimeMax) : kLifetimeMax, .backdate = kBackdate};
      certificate = parts_.authority->issue_for(parts_.time, parsed->key, options);
    }
    if (certificate) json::at_path(request, {"status", "certificate"}) = format_base64(*certificate);
    else add_condition(request, "Failed", "SignerValidationFailure", certificate.error().message());
    CO_TRY(co_await parts_.api.update(kRequests, "", std::move(name), std::move(request), {.subresource = "status"}));
    co_return Result<>();
  }

  client::Informer& requests_;
};

}  // namespace

std::unique_ptr<Controller> make_certificate_controller(const ControllerParts& parts) { return std::make_unique<CertificateController>(parts); }

}  // namespace monopod::controllers
