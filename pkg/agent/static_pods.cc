#include "agent/static_pods.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "sys/files.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/yaml.h"
#include "pki/digest.h"
#include "sys/fd.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kManifestBytesMax = 10U << 20;
constexpr Duration kSettle = std::chrono::milliseconds(100);  // editors write in several steps

bool is_manifest(std::string_view name) {
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

std::map<std::string, Pod> read_manifests(const std::string& directory, const std::string& node_name) {
  std::map<std::string, Pod> out;
  for (const std::string& name : sys::list_directory(directory)) {
    if (!is_manifest(name)) continue;
    std::string file = cat(directory, "/", name);
    auto text = sys::read_host_file(file, kManifestBytesMax);
    auto pod = text ? parse_static_pod(*text, file, node_name) : Result<Pod>(fail(text.error()));
    if (!pod) {
      log::warn("cannot read a pod manifest", {{"file", file}, {"error", pod.error()}});
      continue;
    }
    std::string uid = pod->uid;
    out.emplace(std::move(uid), std::move(*pod));
  }
  return out;
}

}  // namespace

Result<Pod> parse_static_pod(std::string_view text, const std::string& file, const std::string& node_name) {
  auto parsed = yaml::parse(text);
  if (!parsed) return fail(std::move(parsed).error().with(file));
  json::Value tree = std::move(*parsed);
  if (json::get_string(tree, {"kind"}) != "Pod") return fail(Code::kInvalidArgument, cat(file, ": kind must be Pod, not \"", json::get_string(tree, {"kind"}), "\""));
  std::string uid = pki::sha256_hex(cat(node_name, "\n", file, "\n", json::format(tree))).substr(0, 32);
  std::string name(json::get_string(tree, {"metadata", "name"}));
  if (name.empty()) return fail(Code::kInvalidArgument, cat(file, ": metadata.name: required"));
  json::at_path(tree, {"metadata", "name"}) = cat(name, "-", to_lower(node_name));
  if (json::get_string(tree, {"metadata", "namespace"}).empty()) json::at_path(tree, {"metadata", "namespace"}) = "default";
  json::at_path(tree, {"metadata", "uid"}) = uid;
  json::at_path(tree, {"metadata", "annotations", "kubernetes.io/config.hash"}) = uid;
  json::at_path(tree, {"metadata", "annotations", "kubernetes.io/config.source"}) = "file";
  json::at_path(tree, {"spec", "nodeName"}) = node_name;
  if (!json::find(tree, {"spec", "tolerations"})) json::at_path(tree, {"spec", "tolerations"}) = json::Array{json::Object{{"operator", "Exists"}, {"effect", "NoExecute"}}};
  json::at_path(tree, {"status"}) = json::Object{{"phase", "Pending"}};
  auto pod = parse_pod(std::make_shared<const json::Value>(std::move(tree)));
  if (!pod) return fail(std::move(pod).error().with(file));
  if (!pod->service_account.empty()) return fail(Code::kInvalidArgument, cat(file, ": static pods may not refer to service accounts"));
  return pod;
}

json::Value make_mirror_pod(const Pod& pod, const std::string& node_name, const std::string& node_uid) {
  json::Value out = *pod.object;
  json::Object& metadata = out.get_object()["metadata"].get_object();
  metadata.erase("uid");
  metadata.erase("resourceVersion");
  json::at_path(out, {"metadata", "annotations", "kubernetes.io/config.mirror"}) = pod.uid;
  json::at_path(out, {"metadata", "annotations", "kubernetes.io/config.seen"}) = "";
  out.get_object()["metadata"].get_object()["annotations"].get_object().erase("kubernetes.io/config.seen");
  if (!node_uid.empty())
    metadata["ownerReferences"] = json::Array{json::Object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node_name}, {"uid", node_uid}, {"controller", true}}};
  out.get_object().erase("status");
  return out;
}

async::Task<Result<>> watch_static_pods(async::Time& time, async::Pool& pool, std::string directory, std::string node_name,
                                        std::function<void(std::map<std::string, Pod>)> on_pods) {
  CO_TRY(co_await pool.run([&] { return sys::make_directories(directory); }));
  sys::Fd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) co_return fail_errno("inotify");
  if (::inotify_add_watch(inotify.get(), directory.c_str(), IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) < 0)
    co_return fail_errno(cat("watch ", directory));
  for (;;) {  // forever: until cancelled
    on_pods(co_await pool.run([&] { return read_manifests(directory, node_name); }));
    CO_TRY(co_await sys::wait_readable(inotify.get()));
    CO_TRY(co_await time.sleep_for(kSettle));
    char events[4096];
    while (::read(inotify.get(), events, sizeof events) > 0) {
    }
  }
}

}  // namespace monopod::agent
