#include "agent/volumes/tokens.h"

#include "base/log.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {
constexpr Duration kRetry = std::chrono::seconds(30);
}

async::Task<Result<TokenManager::Entry>> TokenManager::request(std::string ns, std::string account, std::string pod_name, std::string pod_uid,
                                                               ProjectionSource source) {
  json::Object spec{{"expirationSeconds", source.expiration_seconds},
                    {"boundObjectRef", json::Object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod_name}, {"uid", pod_uid}}}};
  spec["audiences"] = source.audience.empty() ? json::Array{} : json::Array{json::Value(source.audience)};
  json::Object body{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}};
  MonoTime asked = time_.mono();
  WallTime asked_wall = time_.wall();
  auto answer = co_await api_.post(client::resources::kServiceAccounts, ns, account, "token", json::Value(std::move(body)));
  if (!answer) co_return fail(std::move(answer).error().with("failed to fetch token"));
  Entry out;
  out.token = json::get_string(*answer, {"status", "token"});
  if (out.token.empty()) co_return fail(Code::kInternal, "failed to fetch token: the answer holds none");
  Duration life = std::chrono::seconds(source.expiration_seconds);
  if (auto at = parse_rfc3339(json::get_string(*answer, {"status", "expirationTimestamp"})); at && *at > asked_wall) life = *at - asked_wall;
  out.expires_at = asked + std::chrono::duration_cast<MonoTime::duration>(life);
  out.renew_at = asked + std::chrono::duration_cast<MonoTime::duration>(life * 8 / 10);
  co_return out;
}

async::Task<Result<Tokens>> TokenManager::get(const Pod& pod) {
  Tokens out;
  std::string uid = pod.uid;
  for (const Volume& volume : pod.volumes) {
    for (const ProjectionSource& source : volume.sources) {
      if (source.kind != ProjectionSource::Kind::kToken) continue;
      std::string key = token_key(source);
      MonoTime now = time_.mono();
      auto& mine = by_pod_[uid];
      auto found = mine.find(key);
      if (found == mine.end() || found->second.renew_at <= now) {
        auto fresh = co_await request(pod.namespace_name, pod.service_account.empty() ? "default" : pod.service_account, pod.name, uid, source);
        auto& entries = by_pod_[uid];
        found = entries.find(key);
        if (fresh) {
          found = entries.insert_or_assign(key, std::move(*fresh)).first;
        } else if (found != entries.end() && found->second.expires_at > now) {
          log::warn("cannot renew a service account token", {{"pod", pod.full_name()}, {"error", fresh.error()}});
          found->second.renew_at = now + std::chrono::duration_cast<MonoTime::duration>(kRetry);
        } else {
          co_return fail(std::move(fresh).error());
        }
      }
      out[key] = found->second.token;
    }
  }
  co_return out;
}

std::optional<MonoTime> TokenManager::refresh_at(const std::string& pod_uid) const {
  auto found = by_pod_.find(pod_uid);
  if (found == by_pod_.end()) return std::nullopt;
  std::optional<MonoTime> at;
  for (const auto& [key, entry] : found->second)
    if (!at || entry.renew_at < *at) at = entry.renew_at;
  return at;
}

}  // namespace monopod::agent
