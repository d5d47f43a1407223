// Images of services: built, pulled, pushed, shown.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "compose/load.h"
#include "docker/call.h"
#include "docker/tree_tar.h"
#include "docker_client/images.h"
#include "docker_client/show.h"
#include "docker_client/transfer.h"
#include "http/query.h"
#include "image/fd_streams.h"
#include "image/reference.h"
#include "image/tar.h"
#include "sys/root.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::EngineClient;
using docker_client::path_of;

std::string image_of(const Service& service) { return std::string(json::get_string(json::Value(service.body), {"Image"})); }

constexpr std::string_view kInlineName = ".compose.Dockerfile";
constexpr std::size_t kTarBlock = 512;

// The context; a Dockerfile that the compose file itself has goes before it.
Result<std::string> send_context(EngineClient& client, const std::string& target, const Build& build) {
  return docker_client::upload_from(client, "POST", target, [&](int to) -> Result<> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(build.context));
    image::FdSink sink(to);
    if (!build.inline_dockerfile.empty()) {
      std::string text = build.inline_dockerfile + "\n";
      text.resize((text.size() + kTarBlock - 1) / kTarBlock * kTarBlock, '\n');  // whole blocks: the next entry follows at once
      image::TarWriter tar(sink);
      TRY(tar.begin({.name = std::string(kInlineName), .mode = 0644, .size = text.size(), .data_bytes = text.size()}));
      TRY(tar.write(std::as_bytes(std::span(text))));
    }
    return docker::write_tree(root, "/", ".", sink);
  });
}

Result<> build_image(EngineClient& client, const std::string& image, const Build& build) {
  http::Query query;
  query.add("t", image);
  for (const std::string& tag : build.tags) query.add("t", tag);
  query.add("dockerfile", build.inline_dockerfile.empty() ? build.dockerfile : std::string(kInlineName));
  if (!build.network.empty()) query.add("networkmode", build.network);
  if (build.pull) query.add("pull", "1");
  if (!build.target.empty()) query.add("target", build.target);
  if (!build.arguments.empty()) query.add("buildargs", json::format(docker::object_of(build.arguments)));
  if (!build.labels.empty()) query.add("labels", json::format(docker::object_of(build.labels)));
  if (build.no_cache) query.add("nocache", "1");
  say(cat("Image ", image, "  Building"));
  TRY_ASSIGN(std::string answer, send_context(client, "/build?" + query.format(), build));
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
    how.pull = how.pull || c.flags.on("pull");
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
