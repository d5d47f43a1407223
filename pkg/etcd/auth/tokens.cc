#include "etcd/auth/tokens.h"

#include <algorithm>
#include <unordered_map>

#include "base/strings.h"
#include "pki/pki.h"

namespace monopod::etcd {
namespace {

constexpr std::size_t kSecretBytes = 16;

// "<random>.<number>", the shape of etcd's.
class SimpleTokens final : public TokenProvider {
 public:
  SimpleTokens(async::Time& time, std::chrono::seconds ttl) : time_(time), ttl_(ttl) {}

  Result<std::string> assign(const std::string& user, std::uint64_t) override {
    drop_expired();
    TRY_ASSIGN(std::string secret, pki::random_token(kSecretBytes));
    std::string token = cat(secret, ".", ++count_);
    tokens_[token] = {.user = user, .expires = time_.mono() + ttl_};
    return token;
  }

  std::optional<Identity> find(std::string_view token, std::uint64_t current) override {
    auto at = tokens_.find(std::string(token));
    if (at == tokens_.end()) return std::nullopt;
    if (at->second.expires <= time_.mono()) {
      tokens_.erase(at);
      return std::nullopt;
    }
    at->second.expires = time_.mono() + ttl_;
    return Identity{at->second.user, current};
  }

  void forget_user(std::string_view user) override {
    std::erase_if(tokens_, [&](const auto& token) { return token.second.user == user; });
  }
  void forget_all() override { tokens_.clear(); }

 private:
  struct Token {
    std::string user;
    MonoTime expires;
  };

  void drop_expired() {
    MonoTime now = time_.mono();
    if (now >= next_sweep_) {
      std::erase_if(tokens_, [now](const auto& token) { return token.second.expires <= now; });
      next_sweep_ = now + std::chrono::seconds(1);
    }
    if (tokens_.size() < kSimpleTokensMax) return;
    tokens_.erase(std::min_element(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.second.expires < b.second.expires; }));
  }

  async::Time& time_;
  std::chrono::seconds ttl_;
  std::uint64_t count_ = 0;
  MonoTime next_sweep_{};
  std::unordered_map<std::string, Token> tokens_;
};

class JwtTokens final : public TokenProvider {
 public:
  JwtTokens(async::Time& time, std::chrono::seconds ttl, std::optional<pki::PrivateKey> private_key, pki::PublicKey public_key)
      : time_(time), ttl_(ttl), private_key_(std::move(private_key)), public_key_(std::move(public_key)) {}

  Result<std::string> assign(const std::string& user, std::uint64_t revision) override {
    if (!private_key_) return fail(Code::kUnknown, "auth: token signing attempted with verify-only key");
    auto expires = std::chrono::duration_cast<std::chrono::seconds>((time_.wall() + ttl_).time_since_epoch());
    return pki::sign_jwt(*private_key_, json::Object{{"username", user}, {"revision", revision}, {"exp", expires.count()}});
  }

  std::optional<Identity> find(std::string_view token, std::uint64_t) override {
    Result<pki::Jwt> jwt = pki::verify_jwt(token, {&public_key_, 1});
    if (!jwt || !pki::check_times(*jwt, time_.wall(), Duration::zero())) return std::nullopt;
    const json::Value* user = jwt->claims.if_contains("username");
    const json::Value* revision = jwt->claims.if_contains("revision");
    if (!user || !user->is_string() || user->as_string().empty() || !revision) return std::nullopt;
    boost::system::error_code ec;
    auto number = revision->to_number<std::uint64_t>(ec);
    if (ec || number == 0) return std::nullopt;
    return Identity{std::string(std::string_view(user->as_string())), number};
  }

  // What was signed stays signed: its revision tells that it is old.
  void forget_user(std::string_view) override {}
  void forget_all() override {}

 private:
  async::Time& time_;
  std::chrono::seconds ttl_;
  std::optional<pki::PrivateKey> private_key_;
  pki::PublicKey public_key_;
};

Result<std::unique_ptr<TokenProvider>> make_jwt(const TokenOptions& options, async::Time& time) {
  static constexpr std::pair<std::string_view, pki::KeyKind> kMethods[] = {
      {"RS256", pki::KeyKind::kRsa}, {"ES256", pki::KeyKind::kEcdsaP256}, {"EdDSA", pki::KeyKind::kEd25519}};
  auto method = std::find_if(std::begin(kMethods), std::end(kMethods), [&](const auto& m) { return m.first == options.sign_method; });
  if (method == std::end(kMethods)) return fail(Code::kInvalidArgument, cat("sign-method \"", options.sign_method, "\": want RS256, ES256 or EdDSA"));
  if (options.private_key_pem.empty() && options.public_key_pem.empty()) return fail(Code::kInvalidArgument, "jwt needs priv-key, or pub-key to verify only");
  std::optional<pki::PrivateKey> private_key;
  std::optional<pki::PublicKey> public_key;
  if (!options.private_key_pem.empty()) {
    TRY_ASSIGN(private_key, pki::PrivateKey::parse_pem(options.private_key_pem));
    public_key = private_key->public_key();
  }
  if (!options.public_key_pem.empty()) {
    TRY_ASSIGN(pki::PublicKey given, pki::PublicKey::parse_pem(options.public_key_pem));
    if (public_key && public_key->der() != given.der()) return fail(Code::kInvalidArgument, "pub-key and priv-key do not belong together");
    public_key = std::move(given);
  }
  if (public_key->kind() != method->second) return fail(Code::kInvalidArgument, cat("sign-method ", method->first, ": the key is of another kind"));
  return std::make_unique<JwtTokens>(time, options.ttl, std::move(private_key), std::move(*public_key));
}

// Go's duration text, whole numbers only: "90s", "1h30m".
std::optional<std::chrono::seconds> parse_go_duration(std::string_view text) {
  static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {{"h", 3600}, {"m", 60}, {"s", 1}};
  if (text.empty()) return std::nullopt;
  std::chrono::seconds sum{0};
  while (!text.empty()) {
    std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    std::optional<std::int64_t> number = parse_int<std::int64_t>(text.substr(0, digits));
    std::size_t unit_end = std::min(text.find_first_of("0123456789", digits), text.size());
    std::string_view unit = text.substr(digits, unit_end - digits);
    auto at = std::find_if(std::begin(kUnits), std::end(kUnits), [unit](const auto& u) { return u.first == unit; });
    if (!number || *number > 1'000'000'000 || at == std::end(kUnits)) return std::nullopt;
    sum += std::chrono::seconds(*number * at->second);
    text.remove_prefix(unit_end);
  }
  return sum;
}

}  // namespace

Result<TokenOptions> parse_token_options(std::string_view spec, const std::function<Result<std::string>(const std::string& path)>& read_file) {
  TokenOptions options;
  std::vector<std::string_view> parts = split(spec, ',');
  if (parts[0] == "jwt") options.kind = TokenOptions::Kind::kJwt;
  else if (parts[0] != "simple") return fail(Code::kInvalidArgument, cat("token type \"", parts[0], "\": want simple or jwt"));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto [name, value] = split_once(parts[i], '=');
    if (!value || value->empty()) return fail(Code::kInvalidArgument, cat("token option \"", parts[i], "\": want name=value"));
    if (options.kind == TokenOptions::Kind::kSimple) return fail(Code::kInvalidArgument, cat("token option \"", name, "\": simple tokens have none"));
    std::string* text = name == "sign-method" ? &options.sign_method : name == "priv-key" ? &options.private_key_pem : name == "pub-key" ? &options.public_key_pem : nullptr;
    if (text && !text->empty()) return fail(Code::kInvalidArgument, cat("token option \"", name, "\" is given twice"));
    if (name == "sign-method") {
      *text = *value;
    } else if (text) {
      TRY_ASSIGN(*text, read_file(std::string(*value)));
    } else if (name == "ttl") {
      std::optional<std::chrono::seconds> ttl = parse_go_duration(*value);
      if (!ttl || *ttl < std::chrono::seconds(1) || *ttl > kTokenTtlMax)
        return fail(Code::kInvalidArgument, cat("token option ttl=", *value, ": want hours, minutes or seconds like 1h30m, at least 1s"));
      options.ttl = *ttl;
    } else {
      return fail(Code::kInvalidArgument, cat("token option \"", name, "\" is unknown"));
    }
  }
  return options;
}

Result<std::unique_ptr<TokenProvider>> make_tokens(const TokenOptions& options, async::Time& time) {
  if (options.kind == TokenOptions::Kind::kJwt) return make_jwt(options, time);
  return std::make_unique<SimpleTokens>(time, options.ttl);
}

}  // namespace monopod::etcd
