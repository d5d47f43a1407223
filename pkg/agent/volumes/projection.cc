#include "agent/volumes/projection.h"

#include "base/strings.h"

namespace monopod::agent {

namespace {

Result<> add_object(const ProjectionSource& source, const std::map<std::string, ReferencedObjects::Data>& all, std::string_view kind, std::string_view title,
                    int default_mode, Payload& out) {
  auto found = all.find(source.name);
  if (found == all.end()) {
    if (source.optional) return {};
    return fail(Code::kNotFound, cat(kind, " \"", source.name, "\" not found"));
  }
  const auto& values = found->second.values;
  if (source.items.empty()) {
    for (const auto& [key, value] : values) out[key] = {value, default_mode};
    return {};
  }
  for (const KeyToPath& item : source.items) {
    auto value = values.find(item.key);
    if (value == values.end()) {
      if (source.optional) continue;
      return fail(Code::kNotFound, cat("references non-existent ", title, " key: ", item.key));
    }
    out[item.path] = {value->second, item.mode.value_or(default_mode)};
  }
  return {};
}

Result<> add_downward(const Pod& pod, const ProjectionSource& source, const PodFacts& facts, int default_mode, Payload& out) {
  for (const KeyToPath& item : source.items) {
    std::string text;
    if (item.resource) {
      const Container* c = pod.find_container(item.container);
      if (!c) return fail(Code::kInvalidArgument, cat("container ", item.container, " not found"));
      TRY_ASSIGN(text, resource_value(pod, *c, "", item.key, item.divisor, facts));
    } else {
      TRY_ASSIGN(text, field_value(pod, facts, item.key));
    }
    out[item.path] = {std::move(text), item.mode.value_or(default_mode)};
  }
  return {};
}

}  // namespace

std::string token_key(const ProjectionSource& source) { return cat(source.audience, "\n", source.expiration_seconds); }

Result<Payload> make_payload(const Pod& pod, const Volume& volume, const ReferencedObjects& objects, const Tokens& tokens, const PodFacts& facts) {
  Payload out;
  for (const ProjectionSource& source : volume.sources) {
    switch (source.kind) {
      case ProjectionSource::Kind::kConfigMap: TRY(add_object(source, objects.config_maps, "configmap", "config", volume.default_mode, out)); break;
      case ProjectionSource::Kind::kSecret: TRY(add_object(source, objects.secrets, "secret", "secret", volume.default_mode, out)); break;
      case ProjectionSource::Kind::kDownward: TRY(add_downward(pod, source, facts, volume.default_mode, out)); break;
      case ProjectionSource::Kind::kToken: {
        auto token = tokens.find(token_key(source));
        if (token == tokens.end()) return fail(Code::kUnavailable, "failed to fetch token: not there yet");
        out[source.path] = {token->second, pod.security.run_as_user || pod.security.fs_group ? 0600 : volume.default_mode};
        break;
      }
    }
  }
  return out;
}

void apply_fs_group(Payload& payload) {
  for (auto& [path, file] : payload) file.mode |= (file.mode & 0700) >> 3 & 0050;
}

}  // namespace monopod::agent
