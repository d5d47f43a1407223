// Images of services: built, pulled, pushed, shown.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "compose/load.h"
#include "docker/call.h"
#include "docker_client/images.h"
#include "docker_client/show.h"
#include "docker_client/transfer.h"
#include "http/query.h"
#include "image/reference.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::EngineClient;
using docker_client::path_of;

std::string image_of(const Service& service) { return std::string(json::get_string(json::Value(service.body), {"Image"})); }

Result<> build_image(EngineClient& client, const std::string& image, const Build& build) {
  http::Query query;
  query.add("t", image);
  query.add("dockerfile", build.dockerfile);
  if (!build.target.empty()) query.add("target", build.target);
  if (!build.arguments.empty()) query.add("buildargs", json::format(docker::object_of(build.arguments)));
  if (!build.labels.empty()) query.add("labels", json::format(docker::object_of(build.labels)));
  if (build.no_cache) query.add("nocache", "1");
  say(cat("Image ", image, "  Building"));
  TRY_ASSIGN(std::string answer, docker_client::upload_tree(client, "POST", "/build?" + query.format(), build.context, "/", "."));
  TRY_ASSIGN(std::vector<json::Value> lines, docker_client::take_documents(answer));
  for (const json::Value& line : lines) {
    std::fputs(std::string(json::get_string(line, {"stream"})).c_str(), stderr);
    if (std::string_view error = json::get_string(line, {"error"}); !error.empty()) return fail(Code::kUnknown, cat("build ", image, ": ", error));
  }
  say(cat("Image ", image, "  Built"));
  return {};
}

// The services that the words name, or all of the profiles; what they depend on only where all are meant.
Result<std::vector<const Service*>> named_services(const Loaded& loaded, const std::vector<std::string>& words) {
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(loaded.project, words, loaded.profiles));
  std::vector<const Service*> out;
  for (const std::string& name : chosen)
    if (words.empty() || std::ranges::find(words, name) != words.end()) out.push_back(&loaded.project.services.at(name));
  return out;
}

}  // namespace

Result<std::string> ensure_image(EngineClient& client, const Service& service, const docker_client::Flags& flags) {
  std::string image = image_of(service), when = flags.text("pull", service.pull_policy);
  auto there = client.get(path_of("images", image, "/json"));
  bool build = service.build && !flags.on("no-build") && (!there || flags.on("build") || service.pull_policy == "build");
  if (build) TRY(build_image(client, image, *service.build));
  else if (when == "always" || (!there && when != "never")) TRY(docker_client::pull_image(client, image, service.platform, false));
  there = client.get(path_of("images", image, "/json"));
  if (!there) return fail(there.error());
  return std::string(json::get_string(*there, {"Id"}));
}

Result<int> build(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(auto services, named_services(loaded, c.words));
  for (const Service* service : services) {
    if (!service->build) continue;
    Build how = *service->build;
    how.no_cache = how.no_cache || c.flags.on("no-cache");
    for (const std::string& text : c.flags.list("build-arg")) {
      auto [name, value] = split_once(text, '=');
      const char* own = value ? nullptr : std::getenv(std::string(name).c_str());
      if (value || own != nullptr) how.arguments[std::string(name)] = value ? std::string(*value) : own;
    }
    TRY(build_image(c.client, image_of(*service), how));
  }
  return 0;
}

Result<int> pull(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(auto services, named_services(loaded, c.words));
  int code = 0;
  for (const Service* service : services) {
    if (service->build) continue;  // what is built here is in no registry
    auto pulled = docker_client::pull_image(c.client, image_of(*service), service->platform, c.flags.on("quiet"));
    if (!pulled) docker_client::print_error(std::move(pulled).error().with(service->name)), code = 1;
    if (!pulled && !c.flags.on("ignore-pull-failures")) return code;
  }
  return c.flags.on("ignore-pull-failures") ? 0 : code;
}

Result<int> push(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(auto services, named_services(loaded, c.words));
  for (const Service* service : services)
    if (service->build) TRY(docker_client::push_image(c.client, image_of(*service), image_of(*service)));
  return 0;
}

Result<int> images(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  docker_client::Listing listing{{{"Container"}, {"Repository"}, {"Tag"}, {"ID", "IMAGE ID"}, {"Size"}}, "ID"};
  for (const Member& m : members) {
    std::string name(json::get_string(m.summary, {"Image"}));
    auto image = c.client.get(path_of("images", m.image_id, "/json"));
    auto reference = image::parse_reference(name);
    listing.rows.emplace_back(json::Object{{"Container", m.name}, {"Repository", reference ? reference->repository() : name}, {"Tag", reference ? reference->tag : ""}, {"ID", docker_client::short_id(m.image_id)},
                                           {"Size", image ? docker_client::format_decimal_size(static_cast<double>(json::get_int(*image, {"Size"}))) : ""}});
  }
  TRY(docker_client::print(listing, c.flags));
  return 0;
}

}  // namespace monopod::compose
