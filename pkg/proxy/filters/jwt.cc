// JSON Web Tokens (RFC 7519): who signed, for whom, until when. Keys come from a file, or from a cluster: fetched when a request first wants them, again
// after `refresh`, and once more where a token names a key that is not there. What was fetched serves on while a fetch fails.
//
// Hardening: rules see the normalised path without its query (CVE-2020-8595); the algorithm is the key's; headers that claims are written to are taken
// off requests first, whoever sent them; a token that is wrong is refused where none would have been fine.
#include <map>
#include <mutex>

#include "base/log.h"
#include "base/strings.h"
#include "http/headers.h"
#include "pki/digest.h"
#include "pki/jwks.h"
#include "proxy/filters/filters.h"
#include "proxy/route/match.h"

namespace monopod::proxy {
namespace {

using Keys = std::vector<pki::VerificationKey>;

constexpr std::size_t kTokensKnownMax = 1'000;       // whose signatures need no second look
constexpr std::uint64_t kRefetchMs = 10'000;         // for tokens of keys that nobody knows: strangers must not make us ask at their pace
constexpr std::uint64_t kRetryMs = 1'000;            // after a fetch that failed

// What was fetched; outlives snapshots.
class KeyStore {
 public:
  std::shared_ptr<const Keys> keys() const {
    std::lock_guard lock(mutex_);
    return keys_;
  }
  // Whether the caller is to fetch. for_unknown: the keys are there, but not the one that is wanted.
  bool may_fetch(std::uint64_t now_ms, std::uint64_t refresh_ms, bool for_unknown) {
    std::lock_guard lock(mutex_);
    if (!keys_) return true;  // who has nothing waits for it in any case
    std::uint64_t due = for_unknown ? fetched_ms_ + kRefetchMs : fetched_ms_ + refresh_ms;
    if (now_ms < std::max(due, tried_ms_ + kRetryMs)) return false;
    tried_ms_ = now_ms;
    return true;
  }
  void put(std::shared_ptr<const Keys> keys, std::uint64_t now_ms) {
    std::lock_guard lock(mutex_);
    keys_ = std::move(keys);
    fetched_ms_ = tried_ms_ = now_ms;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Keys> keys_;
  std::uint64_t fetched_ms_ = 0, tried_ms_ = 0;
};

// Tokens whose signature was good, by digest, with the keys that said so.
class TokenCache {
 public:
  std::shared_ptr<const pki::Jwt> find(const std::string& digest, const Keys* keys) const {
    std::lock_guard lock(mutex_);
    auto found = known_.find(digest);
    return found == known_.end() || found->second.keys.get() != keys ? nullptr : found->second.token;
  }
  void put(std::string digest, std::shared_ptr<const Keys> keys, std::shared_ptr<const pki::Jwt> token) {
    std::lock_guard lock(mutex_);
    if (known_.size() >= kTokensKnownMax) known_.clear();
    known_[std::move(digest)] = {std::move(keys), std::move(token)};
  }

 private:
  struct Known {
    std::shared_ptr<const Keys> keys;  // held, so that no others take their address
    std::shared_ptr<const pki::Jwt> token;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Known> known_;
};

struct Provider {
  JwtProviderSpec spec;
  std::shared_ptr<const Keys> fixed;  // of a file
  std::shared_ptr<KeyStore> store;    // else
  std::size_t cluster = 0;

  std::shared_ptr<const Keys> keys() const { return fixed ? fixed : store->keys(); }
};

struct Rule {
  std::vector<TextMatcher> paths;
  std::vector<std::string> methods;
  JwtRule::Need need = JwtRule::Need::kRequired;
  std::vector<const Provider*> providers;
};

Verdict refuse(const RequestView& r, std::string_view body, std::string_view details, bool invalid) {
  r.answer_edits.add(r.arena, "www-authenticate", invalid ? "Bearer error=\"invalid_token\"" : "Bearer");
  return {.kind = Verdict::kAnswer, .status = 401, .body = body, .details = details};
}

// The value of "name" in "a=b<separator>c=d".
std::string_view find_pair(std::string_view text, std::string_view name, char separator) {
  for (std::string_view pair : split(text, separator)) {
    auto [key, value] = split_once(pair, '=');
    if (value && trim(key) == name) return *value;
  }
  return {};
}

std::string_view find_token(const Provider& provider, const RequestView& r) {
  const JwtProviderSpec& spec = provider.spec;
  if (std::string_view value = r.edits.find(r.head, spec.header); !value.empty() && value.size() > spec.prefix.size() && iequals(value.substr(0, spec.prefix.size()), spec.prefix))
    return trim(value.substr(spec.prefix.size()));
  if (!spec.query.empty())
    if (std::string_view value = find_pair(r.query, spec.query, '&'); !value.empty()) return value;
  return spec.cookie.empty() ? std::string_view() : find_pair(r.edits.find(r.head, "cookie"), spec.cookie, ';');
}

bool has_audience(const pki::Jwt& token, const std::vector<std::string>& wanted) {
  if (wanted.empty()) return true;
  const json::Value* aud = token.claims.if_contains("aud");
  auto is_wanted = [&wanted](const json::Value& value) { return value.is_string() && std::ranges::find(wanted, std::string_view(value.get_string())) != wanted.end(); };
  if (aud == nullptr) return false;
  return is_wanted(*aud) || (aud->is_array() && std::ranges::any_of(aud->get_array(), is_wanted));
}

std::string_view issuer_of(const pki::Jwt& token) {
  const json::Value* issuer = token.claims.if_contains("iss");
  return issuer != nullptr && issuer->is_string() ? std::string_view(issuer->get_string()) : std::string_view();
}

std::string claim_text(const json::Object& claims, std::string_view path) {
  const json::Object* at = &claims;
  for (;;) {
    auto [first, rest] = split_once(path, '.');
    const json::Value* value = at->if_contains(path);  // names may hold dots: "kubernetes.io"
    if (value == nullptr) value = at->if_contains(first);
    else rest = std::nullopt;
    if (value == nullptr) return {};
    if (!rest) return value->is_string() ? std::string(value->get_string()) : json::format(*value);
    if (!value->is_object()) return {};
    at = &value->get_object();
    path = *rest;
  }
}

class JwtFilter final : public Filter {
 public:
  JwtFilter(std::vector<std::unique_ptr<Provider>> providers, std::vector<Rule> rules) : providers_(std::move(providers)), rules_(std::move(rules)) {
    everything_.need = JwtRule::Need::kRequired;
    for (const auto& provider : providers_) everything_.providers.push_back(provider.get());
  }

  Verdict on_request(const RequestView& r) const override {
    for (const auto& provider : providers_)
      for (const HeaderValue& claim : provider->spec.claims) r.edits.remove(r.head, claim.name);
    return judge(r, false);
  }

  Verdict on_answer(const RequestView& r, const SideAnswer& answer) const override {
    const Provider* provider = wanted(r).provider;
    if (provider == nullptr || !provider->store) return judge(r, true);
    Result<Keys> keys = !answer.good()        ? fail(Code::kUnavailable, answer.failure)
                        : answer.status != 200 ? fail(Code::kUnavailable, cat("status ", answer.status))
                                               : pki::parse_jwks(answer.body);
    if (keys) provider->store->put(std::make_shared<const Keys>(std::move(*keys)), r.now_ms);
    else log::warn("keys of tokens could not be fetched", {{"provider", provider->spec.name}, {"error", keys.error()}});
    return judge(r, true);
  }

 private:
  const Rule& rule_of(const RequestView& r) const {
    for (const Rule& rule : rules_) {
      bool path = rule.paths.empty() || std::ranges::any_of(rule.paths, [&r](const TextMatcher& m) { return m.matches(&r.path, r.budget); });
      if (path && (rule.methods.empty() || std::ranges::find(rule.methods, r.head.method) != rule.methods.end())) return rule;
    }
    return everything_;
  }

  struct Wanted {
    const Provider* provider = nullptr;  // whose token it says it is; null: nobody's
    std::string_view token{};            // empty: none
  };
  Wanted wanted(const RequestView& r) const {
    Wanted out;
    for (const Provider* provider : rule_of(r).providers) {
      std::string_view token = find_token(*provider, r);
      if (token.empty()) continue;
      out.token = token;
      auto parsed = pki::parse_jwt_unverified(token);
      if (parsed && (provider->spec.issuer.empty() || issuer_of(*parsed) == provider->spec.issuer)) return {provider, token};
    }
    return out;
  }

  // fetched: there was a call for this request; not another one.
  Verdict judge(const RequestView& r, bool fetched) const {
    const Rule& rule = rule_of(r);
    if (r.budget.spent) return {.kind = Verdict::kAnswer, .status = 403, .body = "request takes too long to match\n", .details = "jwt_budget"};
    if (rule.need == JwtRule::Need::kNone) return {};
    Wanted it = wanted(r);
    if (it.token.empty()) return rule.need == JwtRule::Need::kOptional ? Verdict{} : refuse(r, "Jwt is missing\n", "jwt_missing", false);
    if (it.provider == nullptr) return refuse(r, "Jwt issuer is not configured\n", "jwt_issuer", true);
    const Provider& provider = *it.provider;
    auto refresh = static_cast<std::uint64_t>(provider.spec.refresh.count());
    if (!fetched && provider.store && provider.store->may_fetch(r.now_ms, refresh, false)) return fetch(provider);
    std::shared_ptr<const Keys> keys = provider.keys();
    if (!keys) return {.kind = Verdict::kAnswer, .status = 503, .body = "keys of tokens are not at hand\n", .details = "jwks_unavailable"};
    std::string digest = pki::sha256(it.token);
    std::shared_ptr<const pki::Jwt> token = cache_.find(digest, keys.get());
    if (!token) {
      Result<pki::Jwt> verified = pki::verify_with_jwks(it.token, *keys);
      if (!verified) {
        if (!fetched && provider.store && provider.store->may_fetch(r.now_ms, refresh, true)) return fetch(provider);
        return refuse(r, "Jwt verification fails\n", "jwt_invalid", true);
      }
      token = std::make_shared<const pki::Jwt>(std::move(*verified));
      cache_.put(std::move(digest), std::move(keys), token);
    }
    return admit(r, provider, *token);
  }

  static Verdict admit(const RequestView& r, const Provider& provider, const pki::Jwt& token) {
    if (!provider.spec.issuer.empty() && issuer_of(token) != provider.spec.issuer) return refuse(r, "Jwt issuer is not configured\n", "jwt_issuer", true);
    if (!pki::check_times(token, RealClock().wall(), provider.spec.leeway)) return refuse(r, "Jwt is expired, or not yet valid\n", "jwt_expired", true);
    if (!has_audience(token, provider.spec.audiences)) return {.kind = Verdict::kAnswer, .status = 403, .body = "Audiences in Jwt are not allowed\n", .details = "jwt_audience"};
    if (!provider.spec.forward) r.edits.remove(r.head, provider.spec.header);
    for (const HeaderValue& claim : provider.spec.claims)
      if (std::string text = claim_text(token.claims, claim.value); !text.empty()) r.edits.add(r.arena, claim.name, text);
    return {};
  }

  static Verdict fetch(const Provider& provider) {
    Verdict out{.kind = Verdict::kCall};
    out.call = std::make_unique<SideRequest>(SideRequest{.cluster = provider.cluster,
                                                         .text = cat("GET ", provider.spec.jwks_path, " HTTP/1.1\r\nhost: ", provider.spec.jwks_host, "\r\naccept: application/json\r\nuser-agent: monopod-proxy\r\n\r\n"),
                                                         .timeout = provider.spec.timeout});
    return out;
  }

  std::vector<std::unique_ptr<Provider>> providers_;
  std::vector<Rule> rules_;
  Rule everything_;
  mutable TokenCache cache_;
};

bool is_header_of_ours(std::string_view name) { return name == "host" || name == "content-length" || name == "transfer-encoding" || name == "connection"; }

Result<std::unique_ptr<Provider>> make_provider(const JwtProviderSpec& spec, const FilterContext& context) {
  auto out = std::make_unique<Provider>();
  out->spec = spec;
  for (const HeaderValue& claim : spec.claims)
    if (!http::is_token(claim.name) || is_header_of_ours(claim.name) || claim.value.empty()) return fail(Code::kInvalidArgument, cat("claims: \"", claim.name, "\" cannot be set"));
  if (!spec.jwks_cluster.empty()) {
    if (!http::is_field_value(spec.jwks_host) || !http::is_field_value(spec.jwks_path) || spec.jwks_path.find(' ') != std::string::npos)
      return fail(Code::kInvalidArgument, "jwks_host or jwks_path cannot stand in a request");
    TRY_ASSIGN(out->cluster, context.find_cluster(spec.jwks_cluster));
    out->store = context.shared.find_or_make<KeyStore>("jwks", cat(spec.jwks_cluster, " ", spec.jwks_host, " ", spec.jwks_path));
    return out;
  }
  TRY_ASSIGN(Keys keys, pki::parse_jwks(spec.jwks));
  out->fixed = std::make_shared<const Keys>(std::move(keys));
  return out;
}

}  // namespace

Result<FilterPtr> make_jwt(const FilterSpec& spec, const FilterContext& context) {
  std::vector<std::unique_ptr<Provider>> providers;
  for (const JwtProviderSpec& from : spec.jwt.providers) {
    if (std::ranges::any_of(providers, [&from](const auto& p) { return p->spec.name == from.name; })) return fail(Code::kInvalidArgument, cat("\"", from.name, "\" is the name of two providers"));
    auto made = make_provider(from, context);
    if (!made) return fail(Error(made.error()).with(cat("provider ", from.name)));
    providers.push_back(std::move(*made));
  }
  std::vector<Rule> rules;
  for (const JwtRule& from : spec.jwt.rules) {
    Rule& rule = rules.emplace_back();
    rule.need = from.need;
    rule.methods = from.methods;
    for (const StringMatch& path : from.paths) {
      TRY_ASSIGN(TextMatcher matcher, TextMatcher::compile(path));
      rule.paths.push_back(std::move(matcher));
    }
    for (const std::string& name : from.providers) {
      auto found = std::ranges::find_if(providers, [&name](const auto& p) { return p->spec.name == name; });
      if (found == providers.end()) return fail(Code::kInvalidArgument, cat("there is no provider \"", name, "\""));
      rule.providers.push_back(found->get());
    }
    if (from.providers.empty())
      for (const auto& provider : providers) rule.providers.push_back(provider.get());
  }
  return std::make_unique<JwtFilter>(std::move(providers), std::move(rules));
}

}  // namespace monopod::proxy
