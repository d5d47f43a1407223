// Certificate signing requests: what they must be, and who may change which part of their status.
#include <algorithm>

#include "api/kinds/behaviors.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/authority.h"

namespace monopod::api::kinds {
namespace {

constexpr std::string_view kUsages[] = {"signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment", "cert sign", "crl sign",
                                        "encipher only", "decipher only", "any", "server auth", "client auth", "code signing", "email protection", "s/mime", "ipsec end system",
                                        "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing", "microsoft sgc", "netscape sgc"};
constexpr std::string_view kVerdicts[] = {"Approved", "Denied"};
constexpr std::string_view kLegacySigner = "kubernetes.io/legacy-unknown";
constexpr std::int64_t kSecondsMin = 600;

const Array& conditions_of(const Value& request) {
  const Value* status = child(request, "status");
  static const Array kNone;
  return status == nullptr ? kNone : items(*status, "conditions");
}

bool has_condition(const Value& request, std::string_view type) {
  return std::ranges::any_of(conditions_of(request), [&](const Value& c) { return text(c, "type") == type; });
}

// Go prints bytes as a list of hexadecimal numbers.
std::string go_bytes(std::string_view base64) {
  auto bytes = parse_base64(base64);
  std::string out = "[]byte{";
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (char c : bytes ? std::string_view(*bytes) : std::string_view()) {
    auto byte = static_cast<unsigned char>(c);
    if (out.back() != '{') out += ", ";
    out += "0x";
    if (byte >= 16) out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out + "}";
}

void validate_signer_name(std::string_view name, const Path& path, FieldErrors& errors) {
  if (name.empty()) return errors.required(path);
  if (name == kLegacySigner) return errors.invalid(path, name, "the legacy signerName is not allowed via this API version");
  auto [domain, rest] = split_once(name, '/');
  if (!rest || rest->empty()) return errors.invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
  report(errors, path, name, check_dns1123_subdomain(domain));
  if (domain.find('.') == std::string_view::npos) errors.invalid(path, name, "should be a domain with at least two segments separated by dots");
}

}  // namespace

void prepare_signing_request_update(Value& request, const Value& old, std::string_view subresource) {
  Object& root = request.get_object();
  if (const Value* spec = child(old, "spec")) root["spec"] = *spec;  // never changes
  if (subresource != "approval") return;
  // Approval is about conditions alone.
  Value& status = json::at_path(request, {"status"});
  if (!status.is_object()) status = Object{};
  if (const Value* certificate = json::find(old, {"status", "certificate"})) status.get_object()["certificate"] = *certificate;
  else status.get_object().erase("certificate");
}

void validate_signing_request(const Value& request, FieldErrors& errors) {
  const Value* spec = child(request, "spec");
  if (spec == nullptr) return errors.required(Path("spec"));
  Path path("spec");
  auto pem = parse_base64(text(*spec, "request"));
  if (!pem || !pem->starts_with("-----BEGIN CERTIFICATE REQUEST-----")) {
    errors.add({FieldReason::kInvalid, "spec.request", cat("Invalid value: ", go_bytes(text(*spec, "request")), ": PEM block type must be CERTIFICATE REQUEST")});
  } else if (auto parsed = pki::parse_signing_request_pem(*pem); !parsed) {
    errors.add({FieldReason::kInvalid, "spec.request", cat("Invalid value: ", go_bytes(text(*spec, "request")), ": ", parsed.error().message())});
  }
  if (items(*spec, "usages").empty()) errors.required(path["usages"]);
  std::vector<std::string_view> seen;
  for (std::size_t i = 0; i < items(*spec, "usages").size(); ++i) {
    const Value& usage = items(*spec, "usages")[i];
    std::string_view name = usage.is_string() ? std::string_view(usage.get_string()) : std::string_view();
    if (std::ranges::find(kUsages, name) == std::end(kUsages)) errors.not_supported(path["usages"][i], usage, {});
    if (std::ranges::find(seen, name) != seen.end()) errors.duplicate(path["usages"][i], usage);
    seen.push_back(name);
  }
  validate_signer_name(text(*spec, "signerName"), path["signerName"], errors);
  if (const Value* seconds = child(*spec, "expirationSeconds"); seconds != nullptr && seconds->is_int64() && seconds->get_int64() < kSecondsMin)
    errors.invalid(path["expirationSeconds"], *seconds, "may not specify a duration less than 600 seconds (10 minutes)");
  const Array& conditions = conditions_of(request);
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    Path at = Path("status")["conditions"][i];
    std::string_view type = text(conditions[i], "type"), status = text(conditions[i], "status");
    if (type.empty()) errors.required(at["type"]);
    if (status.empty()) errors.required(at["status"]);
    else if ((type == "Approved" || type == "Denied" || type == "Failed") && status != "True") errors.not_supported(at["status"], Value(status), {"True"});
    if (type == "Denied" && has_condition(request, "Approved")) errors.invalid(at["type"], type, "Approved and Denied conditions are mutually exclusive");
  }
}

void validate_signing_request_update(const Value& request, const Value& old, std::string_view subresource, FieldErrors& errors) {
  Path conditions = Path("status")["conditions"];
  for (std::string_view type : kVerdicts) {
    bool now = has_condition(request, type), before = has_condition(old, type);
    if (before && !now) errors.forbidden(conditions, cat("updates may not remove a condition of type \"", type, '"'));
    if (now && !before && subresource != "approval") errors.forbidden(conditions, cat("updates may not add a condition of type \"", type, '"'));
  }
  std::string_view was = json::get_string(old, {"status", "certificate"});
  if (!was.empty() && was != json::get_string(request, {"status", "certificate"})) errors.forbidden(Path("status")["certificate"], "updates may not change an issued certificate");
}

std::vector<std::string_view> signing_request_fields() { return {"spec.signerName"}; }

}  // namespace monopod::api::kinds
