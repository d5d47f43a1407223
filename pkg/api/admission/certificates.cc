// Certificate signing requests say who asks: the server writes that itself. Approving and signing need a permission for the signer
// beside that for the object (upstream's CertificateApproval and CertificateSigning), and no request of a client may name
// system:masters (CertificateSubjectRestriction).
#include <algorithm>

#include "api/admission/plugins.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/authority.h"

namespace monopod::api {
namespace {

constexpr std::string_view kClientSigner = "kubernetes.io/kube-apiserver-client";

class Certificates final : public AdmissionPlugin {
 public:
  explicit Certificates(const AdmissionParts& parts) : authorizer_(parts.authorizer), time_(parts.time) {}
  std::string_view name() const override { return "Certificates"; }

  bool handles(const AdmissionRequest& request) const override { return request.is("certificates.k8s.io", "certificatesigningrequests") && request.object != nullptr; }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    if (request.operation == Operation::kCreate) write_requester(request);
    else write_times(*request.object, request.old);
    co_return Outcome<>();
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override { co_return check(request); }

 private:
  static void write_requester(AdmissionRequest& request) {
    json::Value& spec = json::at_path(*request.object, {"spec"});
    if (!spec.is_object()) return;
    json::Object& out = spec.get_object();
    for (const char* member : {"username", "uid", "groups", "extra"}) out.erase(member);
    out["username"] = request.user.name;
    if (!request.user.uid.empty()) out["uid"] = request.user.uid;
    json::Array groups;
    for (const std::string& group : request.user.groups) groups.push_back(json::Value(group));
    if (!groups.empty()) out["groups"] = std::move(groups);
    json::Object extra;
    for (const auto& [key, values] : request.user.extra) {
      json::Array list;
      for (const std::string& value : values) list.push_back(json::Value(value));
      extra[key] = std::move(list);
    }
    if (!extra.empty()) out["extra"] = std::move(extra);
  }

  void write_times(json::Value& object, const json::Value* old) const {
    json::Value* conditions = json::find(object, {"status", "conditions"});
    if (conditions == nullptr || !conditions->is_array()) return;
    const json::Array* before = old == nullptr ? nullptr : json::get_array(*old, {"status", "conditions"});
    std::string now = format_rfc3339(time_.wall());
    for (json::Value& c : conditions->get_array()) {
      if (!c.is_object()) continue;
      const json::Value* was = nullptr;
      if (before != nullptr)
        for (const json::Value& b : *before)
          if (json::get_string(b, {"type"}) == json::get_string(c, {"type"})) was = &b;
      bool kept = was != nullptr && json::get_string(*was, {"status"}) == json::get_string(c, {"status"});
      if (json::get_string(c, {"lastUpdateTime"}).empty()) c.get_object()["lastUpdateTime"] = now;
      if (json::get_string(c, {"lastTransitionTime"}).empty()) c.get_object()["lastTransitionTime"] = kept ? std::string(json::get_string(*was, {"lastTransitionTime"}, now)) : now;
    }
  }

  bool may(const AdmissionRequest& request, std::string_view verb, std::string_view signer) {
    Attributes attributes;
    attributes.user = request.user;
    attributes.verb = verb;
    attributes.group = "certificates.k8s.io";
    attributes.version = "*";
    attributes.resource = "signers";
    attributes.name = signer;
    if (authorizer_.authorize(attributes).allowed) return true;
    attributes.name = cat(signer.substr(0, signer.find('/')), "/*");
    return authorizer_.authorize(attributes).allowed;
  }

  Outcome<> check(const AdmissionRequest& request) {
    const json::Value& object = *request.object;
    std::string_view signer = json::get_string(object, {"spec", "signerName"});
    auto denied = [&](std::string why) { return refuse(forbidden(request.ref(), request.name, why)); };
    if (request.operation == Operation::kCreate) {
      if (signer != kClientSigner) return {};
      auto pem = parse_base64(json::get_string(object, {"spec", "request"}));
      auto parsed = pem ? pki::parse_signing_request_pem(*pem) : Result<pki::SigningRequest>(fail(Code::kInvalidArgument, "no request"));
      if (parsed && std::ranges::find(parsed->identity.organizations, "system:masters") != parsed->identity.organizations.end())
        return denied("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
      return {};
    }
    if (request.subresource == "approval" && !may(request, "approve", signer)) return denied(cat("user not permitted to approve requests with signerName \"", signer, '"'));
    if (request.subresource != "status" || request.old == nullptr) return {};
    const json::Value *now = json::find(object, {"status"}), *before = json::find(*request.old, {"status"});
    bool same = (now == nullptr) == (before == nullptr) && (now == nullptr || *now == *before);
    if (!same && !may(request, "sign", signer)) return denied(cat("user not permitted to sign requests with signerName \"", signer, '"'));
    return {};
  }

  Authorizer& authorizer_;
  async::Time& time_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_certificates(const AdmissionParts& parts) { return std::make_unique<Certificates>(parts); }

}  // namespace monopod::api
