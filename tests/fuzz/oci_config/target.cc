// config.json of a bundle: what is accepted is valid, is written and read again as the same, and has a plan of its resources and mounts.
#include "base/log.h"
#include "codec/json.h"
#include "container/mount_options.h"
#include "container/oci/bundle.h"
#include "container/oci/resources.h"
#include "container/seccomp.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;
using namespace monopod::container;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  log::configure({.level = log::Level::kError, .fd = -1});
  std::string_view text = fuzz::text_of(data, size);
  Result<oci::Bundle> bundle = oci::parse_bundle("/bundle", text);
  if (bundle) {
    const ContainerConfig& config = bundle->config;
    fuzz::check(validate_config(config).has_value(), "an accepted config is valid");
    fuzz::check(config.rootfs.starts_with('/'), "paths are absolute");
    for (const Mount& mount : config.mounts) {
      fuzz::check(mount.destination.starts_with('/'), "destinations are absolute");
      (void)parse_mount_options(mount);
    }
    json::Value once = format_config(config);
    Result<ContainerConfig> again = parse_config(once);
    fuzz::check(again.has_value(), "what is written is read");
    fuzz::check(json::format(format_config(*again)) == json::format(once), "and is the same");
    for (bool v2 : {false, true}) {
      Result<std::vector<oci::Setting>> settings = oci::plan_resources(bundle->resources, v2);
      if (!settings) continue;
      for (const oci::Setting& one : *settings)
        fuzz::check(one.file.find('/') == std::string::npos && !one.file.starts_with('.'), "control files stay in their group");
    }
    // Large profiles take libseccomp seconds; what they compile to is seccomp's own tests' business.
    if (config.seccomp && size < 2000) (void)compile_seccomp(*config.seccomp);
  }
  if (Result<json::Value> value = json::parse(text)) (void)parse_process(*value);
  return 0;
}
