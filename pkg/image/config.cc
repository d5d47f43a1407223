#include "image/config.h"

#include <algorithm>

#include "base/strings.h"
#include "image/limits.h"

namespace monopod::image {
namespace {

using json::Value;

Result<std::string> as_string(const Value& v, std::string_view what) {
  if (!v.is_string()) return fail(Code::kInvalidArgument, cat("image config: ", what, ": want a string"));
  const auto& text = v.get_string();
  if (text.size() > kConfigStringBytesMax)
    return fail(Code::kInvalidArgument, cat("image config: ", what, ": ", text.size(), " bytes exceed ", kConfigStringBytesMax));
  if (text.find('\0') != boost::json::string::npos)
    return fail(Code::kInvalidArgument, cat("image config: ", what, ": contains a NUL byte"));
  return std::string(text);
}

// Absent and null are the same: Go writes null for an empty list.
const Value* member(const Value& object, std::string_view key) {
  const Value* v = json::find(object, {key});
  return v == nullptr || v->is_null() ? nullptr : v;
}

Result<std::string> string_member(const Value& object, std::string_view key) {
  const Value* v = member(object, key);
  if (v == nullptr) return std::string();
  return as_string(*v, key);
}

Result<> check_count(std::size_t count, std::string_view what) {
  if (count > kConfigListMax)
    return fail(Code::kInvalidArgument, cat("image config: ", what, ": ", count, " items exceed ", kConfigListMax));
  return {};
}

Result<std::vector<std::string>> list_member(const Value& object, std::string_view key) {
  std::vector<std::string> out;
  const Value* v = member(object, key);
  if (v == nullptr) return out;
  if (v->is_string()) {  // Docker once wrote a single string for Cmd
    TRY_ASSIGN(std::string one, as_string(*v, key));
    out.push_back(std::move(one));
    return out;
  }
  if (!v->is_array()) return fail(Code::kInvalidArgument, cat("image config: ", key, ": want a list"));
  TRY(check_count(v->get_array().size(), key));
  for (const Value& item : v->get_array()) {
    TRY_ASSIGN(std::string text, as_string(item, key));
    out.push_back(std::move(text));
  }
  return out;
}

// {"80/tcp": {}} as Go writes a set.
Result<std::vector<std::string>> set_member(const Value& object, std::string_view key) {
  std::vector<std::string> out;
  const Value* v = member(object, key);
  if (v == nullptr) return out;
  if (!v->is_object()) return fail(Code::kInvalidArgument, cat("image config: ", key, ": want an object"));
  TRY(check_count(v->get_object().size(), key));
  for (const auto& item : v->get_object()) {
    if (item.key().find('\0') != std::string_view::npos || item.key().size() > kNameBytesMax)
      return fail(Code::kInvalidArgument, cat("image config: ", key, ": bad name"));
    out.emplace_back(item.key());
  }
  std::ranges::sort(out);
  return out;
}

Result<> read_container_config(const Value& config, ImageConfig& out) {
  TRY_ASSIGN(out.entrypoint, list_member(config, "Entrypoint"));
  TRY_ASSIGN(out.cmd, list_member(config, "Cmd"));
  TRY_ASSIGN(out.env, list_member(config, "Env"));
  TRY_ASSIGN(out.working_dir, string_member(config, "WorkingDir"));
  TRY_ASSIGN(out.user, string_member(config, "User"));
  TRY_ASSIGN(out.exposed_ports, set_member(config, "ExposedPorts"));
  TRY_ASSIGN(out.volumes, set_member(config, "Volumes"));
  TRY_ASSIGN(out.stop_signal, string_member(config, "StopSignal"));
  if (const Value* labels = member(config, "Labels")) {
    if (!labels->is_object()) return fail(Code::kInvalidArgument, "image config: Labels: want an object");
    TRY(check_count(labels->get_object().size(), "Labels"));
    for (const auto& item : labels->get_object()) {
      TRY_ASSIGN(std::string value, as_string(item.value(), "Labels"));
      out.labels.emplace(item.key(), std::move(value));
    }
  }
  if (const Value* check = member(config, "Healthcheck"); check != nullptr && check->is_object()) {
    TRY_ASSIGN(out.health_check.test, list_member(*check, "Test"));
    out.health_check.interval_ns = json::get_int(*check, {"Interval"});
    out.health_check.timeout_ns = json::get_int(*check, {"Timeout"});
    out.health_check.start_period_ns = json::get_int(*check, {"StartPeriod"});
    out.health_check.retries = static_cast<int>(std::clamp<std::int64_t>(json::get_int(*check, {"Retries"}), 0, 1'000));
  }
  for (const std::string& path : out.volumes)
    if (!path.starts_with('/')) return fail(Code::kInvalidArgument, cat("image config: volume \"", path, "\" is not absolute"));
  return {};
}

boost::json::array string_array(const std::vector<std::string>& items) {
  boost::json::array out;
  for (const std::string& item : items) out.emplace_back(item);
  return out;
}

boost::json::object string_set(const std::vector<std::string>& items) {
  boost::json::object out;
  for (const std::string& item : items) out[item] = boost::json::object();
  return out;
}

}  // namespace

Platform host_platform() {
#if defined(__x86_64__)
  return {.os = "linux", .architecture = "amd64", .variant = ""};
#elif defined(__aarch64__)
  return {.os = "linux", .architecture = "arm64", .variant = "v8"};
#else
#error "add this architecture"
#endif
}

Result<Platform> parse_platform(std::string_view text) {
  if (text.empty()) return host_platform();
  std::vector<std::string_view> parts = split(text, '/');
  if (parts.size() < 2 || parts.size() > 3 || std::ranges::count(parts, std::string_view()) > 0)
    return fail(Code::kInvalidArgument, cat("\"", text, "\": invalid platform: want linux/ARCHITECTURE or linux/ARCHITECTURE/VARIANT"));
  return Platform{.os = std::string(parts[0]), .architecture = std::string(parts[1]), .variant = std::string(parts.size() == 3 ? parts[2] : "")};
}

std::string format_platform(const Platform& p) { return cat(p.os, "/", p.architecture, p.variant.empty() ? "" : "/", p.variant); }

Result<ImageConfig> parse_image_config(std::string_view text) {
  TRY_ASSIGN(Value root, json::parse(text, {.depth_max = 32, .bytes_max = Limits{}.document_bytes_max}));
  if (!root.is_object()) return fail(Code::kInvalidArgument, "image config: want an object");
  ImageConfig out;
  TRY_ASSIGN(out.platform.os, string_member(root, "os"));
  TRY_ASSIGN(out.platform.architecture, string_member(root, "architecture"));
  TRY_ASSIGN(out.platform.variant, string_member(root, "variant"));
  TRY_ASSIGN(out.created, string_member(root, "created"));
  TRY_ASSIGN(out.author, string_member(root, "author"));
  if (const Value* config = member(root, "config")) {
    if (!config->is_object()) return fail(Code::kInvalidArgument, "image config: config: want an object");
    TRY(read_container_config(*config, out));
  }
  const Value* rootfs = member(root, "rootfs");
  if (rootfs == nullptr || !rootfs->is_object()) return fail(Code::kInvalidArgument, "image config: rootfs is missing");
  if (json::get_string(*rootfs, {"type"}) != "layers") return fail(Code::kInvalidArgument, "image config: rootfs type is not \"layers\"");
  TRY_ASSIGN(out.diff_ids, list_member(*rootfs, "diff_ids"));
  return out;
}

void fit_history(Value& document, std::string_view created_by) {
  const json::Array* ids = json::get_array(document, {"rootfs", "diff_ids"});
  const std::size_t layers = ids == nullptr ? 0 : ids->size();
  Value& history = json::at_path(document, {"history"});
  if (!history.is_array()) history = json::Array();
  json::Array& steps = history.get_array();
  auto told = static_cast<std::size_t>(std::ranges::count_if(steps, [](const Value& step) { return !json::get_bool(step, {"empty_layer"}); }));
  if (told > layers) steps.clear();
  for (std::size_t i = told > layers ? 0 : told; i < layers; ++i) {
    json::Object step{{"comment", "layer of the base image"}};
    if (!created_by.empty()) step = json::Object{{"created", json::get_string(document, {"created"})}, {"created_by", created_by}};
    steps.insert(steps.begin(), std::move(step));
  }
}

std::string format_image_config(const ImageConfig& config) {
  Value root = boost::json::object();
  auto& object = root.get_object();
  if (!config.created.empty()) object["created"] = config.created;
  if (!config.author.empty()) object["author"] = config.author;
  object["architecture"] = config.platform.architecture;
  if (!config.platform.variant.empty()) object["variant"] = config.platform.variant;
  object["os"] = config.platform.os;
  boost::json::object inner;
  if (!config.user.empty()) inner["User"] = config.user;
  if (!config.exposed_ports.empty()) inner["ExposedPorts"] = string_set(config.exposed_ports);
  if (!config.env.empty()) inner["Env"] = string_array(config.env);
  if (!config.entrypoint.empty()) inner["Entrypoint"] = string_array(config.entrypoint);
  if (!config.cmd.empty()) inner["Cmd"] = string_array(config.cmd);
  if (!config.volumes.empty()) inner["Volumes"] = string_set(config.volumes);
  if (!config.working_dir.empty()) inner["WorkingDir"] = config.working_dir;
  if (!config.labels.empty()) {
    boost::json::object labels;
    for (const auto& [key, value] : config.labels) labels[key] = value;
    inner["Labels"] = std::move(labels);
  }
  if (!config.stop_signal.empty()) inner["StopSignal"] = config.stop_signal;
  if (!config.health_check.test.empty()) {
    boost::json::object check;
    check["Test"] = string_array(config.health_check.test);
    if (config.health_check.interval_ns != 0) check["Interval"] = config.health_check.interval_ns;
    if (config.health_check.timeout_ns != 0) check["Timeout"] = config.health_check.timeout_ns;
    if (config.health_check.start_period_ns != 0) check["StartPeriod"] = config.health_check.start_period_ns;
    if (config.health_check.retries != 0) check["Retries"] = config.health_check.retries;
    inner["Healthcheck"] = std::move(check);
  }
  object["config"] = std::move(inner);
  boost::json::object rootfs;
  rootfs["type"] = "layers";
  rootfs["diff_ids"] = string_array(config.diff_ids);
  object["rootfs"] = std::move(rootfs);
  return json::format(root);
}

}  // namespace monopod::image
