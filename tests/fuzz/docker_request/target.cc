// The body of POST /containers/create, and filters: what is accepted has a plan, which stays inside what it names.
#include "base/log.h"
#include "codec/json.h"
#include "docker/call.h"
#include "docker/events.h"
#include "docker/plan.h"
#include "docker/registry_auth.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;
using namespace monopod::docker;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  log::configure({.level = log::Level::kError, .fd = -1});
  std::string_view text = fuzz::text_of(data, size);
  if (auto filters = Filters::parse(text)) (void)filters->labels_match(nullptr);
  (void)parse_registry_auth(text);
  (void)parse_moment(text, WallTime{});
  Result<json::Value> request = json::parse(text);
  if (!request || !request->is_object()) return 0;
  Result<json::Value> host = complete_host_config(*request);
  image::ImageConfig image;
  image.cmd = {"x"};
  Result<json::Value> config = merge_config(*request, image, std::string(64, 'a'));
  if (!host || !config) return 0;
  async::asio::io_context context;
  Container c(context.get_executor());
  c.id = std::string(64, 'a');
  c.config = *config;
  c.host_config = *host;
  c.networks = json::Object{};
  Result<std::vector<MountPoint>> mounts = plan_mounts(*config, *host);
  Result<std::vector<PublishedPort>> ports = plan_ports(*config, *host);
  if (ports) (void)host_ports(*ports);
  if (!mounts) return 0;
  for (const MountPoint& m : *mounts) {
    fuzz::check(m.destination.starts_with('/') && m.destination.find("/../") == std::string::npos, "destinations are absolute and plain");
    fuzz::check(m.type != "bind" || m.source.starts_with('/'), "sources are absolute");
    fuzz::check(m.name.find('/') == std::string::npos, "a volume's name is no path");
  }
  c.mounts = *mounts;
  std::string record = format_container(c);
  auto again = parse_container(context.get_executor(), c.id, record);
  fuzz::check(again.has_value() && format_container(**again) == record, "a record is read as it was written");
  (void)make_config(c, {.rootfs = "/root", .files = "/files", .cgroup = "docker/a"});
  return 0;
}
