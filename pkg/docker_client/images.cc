#include "docker_client/images.h"

#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/verbs.h"
#include "http/query.h"
#include "image/config.h"
#include "image/reference.h"

namespace monopod::docker_client {
namespace {

using async::Task;
using docker::array_of;
using docker::strings_of;

Task<Result<>> send_up(EngineClient& client, std::string target, int from, std::string& answer) {
  CO_TRY_ASSIGN(answer, co_await client.upload("POST", target, from));
  co_return Result<>();
}

// Documents of the answer to what is read from a descriptor.
Result<std::vector<json::Value>> upload(EngineClient& client, const std::string& target, int from) {
  std::string answer;
  TRY(client.run(send_up(client, target, from, answer)));
  TRY_ASSIGN(std::vector<json::Value> lines, take_documents(answer));
  for (const json::Value& line : lines)
    if (std::string_view error = json::get_string(line, {"error"}); !error.empty()) return fail(Code::kUnknown, std::string(error));
  return lines;
}

}  // namespace

Result<json::Value> describe_image(EngineClient& client, const std::string& name) {
  TRY_ASSIGN(json::Value i, client.get(path_of("images", name, "/json")));
  std::vector<std::string> digests = strings_of(i, {"RepoDigests"});
  return json::Value(json::Object{{"id", json::get_string(i, {"Id"})}, {"references", array_of(strings_of(i, {"RepoTags"}))}, {"manifest_digest", digests.empty() ? "" : digests[0].substr(digests[0].find('@') + 1)},
                                  {"size_bytes", json::get_int(i, {"Size"})}, {"layers", array_of(strings_of(i, {"RootFS", "Layers"}))}, {"imported", json::get_string(i, {"Metadata", "LastTagTime"})},
                                  {"platform", image::format_platform({.os = std::string(json::get_string(i, {"Os"})), .architecture = std::string(json::get_string(i, {"Architecture"})), .variant = std::string(json::get_string(i, {"Variant"}))})}});
}

Result<json::Array> describe_images(EngineClient& client, bool steps) {
  TRY_ASSIGN(json::Value list, client.get(cat("/images/json?all=", steps)));
  json::Array out;
  if (list.is_array())
    for (const json::Value& item : list.get_array()) {
      TRY_ASSIGN(json::Value image, describe_image(client, std::string(json::get_string(item, {"Id"}))));
      out.push_back(std::move(image));
    }
  return out;
}

Result<bool> remove_image(EngineClient& client, const std::string& name) {
  TRY_ASSIGN(json::Value done, client.call("DELETE", path_of("images", name)));
  bool gone = false;
  if (done.is_array())
    for (const json::Value& item : done.get_array()) gone = gone || json::find(item, {"Deleted"}) != nullptr;
  return gone;
}

Result<> tag_image(EngineClient& client, const std::string& name, const std::string& reference) {
  TRY(client.post(path_of("images", name, "/tag?repo=" + http::encode_query_component(reference))));
  return {};
}

Result<> push_image(EngineClient& client, const std::string& name, const std::string& target) {
  TRY_ASSIGN(image::Reference reference, image::parse_reference(target));
  if (name != target) TRY(tag_image(client, name, target));
  return show_transfer(client, path_of("images", reference.repository(), "/push?tag=" + http::encode_query_component(reference.tag)), target, false);
}

Result<std::vector<std::string>> load_images(EngineClient& client, int from) {
  TRY_ASSIGN(std::vector<json::Value> lines, upload(client, "/images/load?quiet=1", from));
  std::vector<std::string> out;
  for (const json::Value& line : lines)
    if (auto [head, name] = split_once(trim(json::get_string(line, {"stream"})), ':'); name) out.emplace_back(trim(*name));
  return out;
}

Result<std::string> import_image(EngineClient& client, int from, const std::string& reference) {
  TRY_ASSIGN(std::vector<json::Value> lines, upload(client, "/images/create?fromSrc=-&repo=" + http::encode_query_component(reference), from));
  return std::string(lines.empty() ? std::string_view() : json::get_string(lines.back(), {"status"}));
}

Result<> save_images(EngineClient& client, const std::vector<std::string>& names, int to) {
  http::Query query;
  for (const std::string& name : names) query.add("names", name);
  return client.run(client.download("/images/get?" + query.format(), to));
}

// By a container that never runs.
Result<> export_image(EngineClient& client, const std::string& name, int to) {
  TRY_ASSIGN(json::Value made, client.post("/containers/create", json::Object{{"Image", name}, {"Cmd", json::Array{"/"}}, {"NetworkDisabled", true}}));
  const std::string id(json::get_string(made, {"Id"}));
  Result<> sent = client.run(client.download(path_of("containers", id, "/export"), to));
  auto removed = client.call("DELETE", path_of("containers", id, "?v=1"));
  if (sent && !removed) return fail(std::move(removed).error());
  return sent;
}

Result<json::Value> history_of_image(EngineClient& client, const std::string& name) { return client.get(path_of("images", name, "/history")); }

Result<std::int64_t> prune_images(EngineClient& client, bool all, std::vector<std::string>& removed) {
  TRY_ASSIGN(std::string filters, encode_filters({cat("dangling=", all ? "false" : "true")}));
  TRY_ASSIGN(json::Value done, client.post("/images/prune?filters=" + filters));
  if (const json::Array* list = json::get_array(done, {"ImagesDeleted"}))
    for (const json::Value& item : *list)
      if (std::string_view id = json::get_string(item, {"Deleted"}); !id.empty()) removed.emplace_back(id);
  return json::get_int(done, {"SpaceReclaimed"});
}

}  // namespace monopod::docker_client
