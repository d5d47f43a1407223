#include <sys/utsname.h>

#include <cstdio>

#include "cmd/commands.h"
#include "codec/json.h"

namespace monopod::cmd {

void add_version(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "version", "Print the version", "  monopod version\n  monopod version -o json");
  auto output = std::make_shared<std::string>("text");
  app->add_option("-o,--output", *output, "text or json")->check(CLI::IsMember({"text", "json"}));
  app->callback([output, &invocation] {
    invocation.run = [output] {
      utsname host{};
      uname(&host);
      json::Value about = json::Object{{"version", MONOPOD_VERSION}, {"kubernetes", "v1.35"}, {"arch", host.machine}, {"kernel", host.release}};
      if (*output == "json") std::printf("%s\n", json::format(about).c_str());
      else std::printf("monopod %s (Kubernetes API v1.35, %s, Linux %s)\n", MONOPOD_VERSION, host.machine, host.release);
      return 0;
    };
  });
}

}  // namespace monopod::cmd
