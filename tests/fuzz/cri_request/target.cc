// CRI's requests as bytes: the first byte picks the message. What is understood is the same once written and read again, is checked without a fall, and what
// the checks let through becomes a config or an error that names what is wrong.
#include "container/config.h"
#include "cri/describe.h"
#include "cri/limits.h"
#include "cri/messages.h"
#include "cri/plan.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

void plan(const json::Value& request) {
  boost::asio::io_context context;
  cri::Sandbox sandbox(context.get_executor());
  sandbox.config = cri::member_of(request, {"sandbox_config"});
  cri::Container one(context.get_executor());
  one.config = cri::member_of(request, {"config"});
  if (!cri::check_container(sandbox, one.config)) return;
  cri::Place place{.rootfs = "/root", .files = "/files", .cgroup = "cri/s/c", .namespaces = {"/net", "/ipc", "/uts"}};
  if (const json::Array* mounts = json::get_array(one.config, {"mounts"})) place.mount_sources.assign(mounts->size(), "/source");
  image::ImageConfig image;
  image.cmd = {"true"};
  one.user = cri::effective_user(one.config, {.uid = 1, .gid = 1, .additional_gids = {2}, .name = "u"});
  one.stop_signal = cri::stop_signal(one.config, image);
  if (auto config = cri::make_config(sandbox, one, image, place)) (void)container::validate_config(*config);
  (void)cri::make_stdio(one);
  auto kept = cri::parse_container(context.get_executor(), "c", cri::format_container(one));
  fuzz::check(kept.has_value(), "what was accepted is read again after a restart");
  fuzz::check(json::format(cri::describe_container_status(**kept, {})).size() > 2, "and shown");
}

void plan_sandbox(const json::Value& config) {
  if (!cri::check_sandbox(config)) return;
  boost::asio::io_context context;
  cri::Sandbox sandbox(context.get_executor());
  sandbox.config = config;
  (void)cri::host_ports(config);
  (void)cri::make_hosts(sandbox, "");
  (void)cri::make_resolv_conf(config, "");
  fuzz::check(cri::parse_sandbox(context.get_executor(), "s", cri::format_sandbox(sandbox)).has_value(), "what was accepted is read again after a restart");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto& messages = cri::Schema::get().messages();
  bool create = data[0] == 0;
  const cri::Message& type = create ? *cri::Schema::get().find("CreateContainerRequest") : messages[data[0] % messages.size()];
  auto tree = cri::decode_message(fuzz::text_of(data + 1, size - 1), type);
  if (!tree) return 0;
  std::string bytes = cri::encode_message(*tree, type);
  auto again = cri::decode_message(bytes, type);
  fuzz::check(again.has_value() && cri::encode_message(*again, type) == bytes, "what is written is read, and written so again");
  if (type.name == "CreateContainerRequest") plan(*tree);
  if (type.name == "RunPodSandboxRequest") plan_sandbox(cri::member_of(*tree, {"config"}));
  if (type.name == "PodSandboxConfig") plan_sandbox(*tree);
  return 0;
}
