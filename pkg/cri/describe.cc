#include "cri/describe.h"

#include <algorithm>

#include "base/strings.h"
#include "cri/messages.h"

namespace monopod::cri {
namespace {

bool labels_match(const json::Value& filter, const json::Value& config) {
  const json::Value labels = member_of(config, {"labels"});
  std::map<std::string, std::string> wanted = map_of(filter, {"label_selector"});
  return std::ranges::all_of(wanted, [&](const auto& entry) {
    const json::Value* there = json::find(labels, {entry.first});
    return there != nullptr && there->is_string() && std::string_view(there->get_string()) == entry.second;
  });
}

bool state_matches(const json::Value& filter, std::int64_t state) { return json::find(filter, {"state"}) == nullptr || json::get_int(filter, {"state", "state"}) == state; }

// Copies members that may be absent.
void copy(json::Object& to, const json::Value& from, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names)
    if (const json::Value* found = json::find(from, {name})) to[name] = *found;
}

std::string_view reference_of(const image::Image& image) { return image.repo_digests.empty() ? std::string_view(image.id) : image.repo_digests.front(); }

}  // namespace

json::Value describe_sandbox(const Sandbox& s) {
  json::Object out{{"id", s.id}, {"state", s.ready ? 0 : 1}, {"created_at", nanos(s.created)}, {"runtime_handler", s.handler}};
  copy(out, s.config, {"metadata", "labels", "annotations"});
  return out;
}

json::Value describe_sandbox_status(const Sandbox& s) {
  json::Value out = describe_sandbox(s);
  json::Object& o = out.get_object();
  o["network"] = json::Object{{"ip", s.ip}};
  o["linux"] = json::Object{{"namespaces", json::Object{{"options", member_of(s.config, {"linux", "security_context", "namespace_options"})}}}};
  return out;
}

json::Value describe_container(const Container& c) {
  json::Object out{{"id", c.id}, {"pod_sandbox_id", c.sandbox_id}, {"image_ref", c.image_id}, {"image_id", c.image_id}, {"state", static_cast<int>(c.phase)}, {"created_at", nanos(c.created)}};
  copy(out, c.config, {"metadata", "image", "labels", "annotations"});
  return out;
}

json::Value describe_container_status(const Container& c, const std::optional<image::Image>& image) {
  json::Object out{{"id", c.id}, {"state", static_cast<int>(c.phase)}, {"created_at", nanos(c.created)}, {"started_at", nanos(c.started)}, {"finished_at", nanos(c.finished)},
                   {"exit_code", c.exit_code}, {"reason", c.reason}, {"message", c.message}, {"log_path", c.log_path}, {"image_id", c.image_id},
                   {"image_ref", image ? reference_of(*image) : std::string_view(c.image_id)}, {"stop_signal", enum_of_signal(c.stop_signal)}};
  copy(out, c.config, {"metadata", "image", "labels", "annotations", "mounts"});
  if (image && !image->references.empty()) {
    json::Value spec = out["image"];
    json::at_path(spec, {"image"}) = image->references.front();
    out["image"] = std::move(spec);
  }
  out["resources"] = json::Object{{"linux", member_of(c.config, {"linux", "resources"})}};
  out["user"] = json::Object{{"linux", c.user}};
  return out;
}

json::Value describe_image(const image::Image& image) {
  json::Object out{{"id", image.id}, {"repo_tags", array_of(image.references)}, {"repo_digests", array_of(image.repo_digests)}, {"size", std::max<std::uint64_t>(image.size_bytes, 1)}};
  std::string_view user = split_once(image.config.user, ':').first;
  if (auto uid = parse_int<std::int64_t>(user)) out["uid"] = json::Object{{"value", *uid}};
  else if (user.empty()) out["uid"] = json::Object{{"value", 0}};
  else out["username"] = user;
  out["spec"] = json::Object{{"image", image.references.empty() ? std::string_view(image.id) : std::string_view(image.references.front())}};
  return out;
}

bool matches(const json::Value& filter, const Sandbox& s) {
  return s.id.starts_with(json::get_string(filter, {"id"})) && state_matches(filter, s.ready ? 0 : 1) && labels_match(filter, s.config);
}

bool matches(const json::Value& filter, const Container& c) {
  return c.id.starts_with(json::get_string(filter, {"id"})) && c.sandbox_id.starts_with(json::get_string(filter, {"pod_sandbox_id"})) &&
         state_matches(filter, static_cast<int>(c.phase)) && labels_match(filter, c.config);
}

}  // namespace monopod::cri
