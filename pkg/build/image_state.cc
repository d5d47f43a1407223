#include "build/image_state.h"

#include <algorithm>

#include "base/duration.h"
#include "base/strings.h"
#include "build/cache.h"
#include "build/copy.h"
#include "build/wrong.h"

namespace monopod::build {
namespace {

constexpr std::string_view kComment = "monopod image build";

std::vector<std::string> list_of(const json::Value& config, std::string_view member) {
  std::vector<std::string> out;
  if (const json::Array* items = json::get_array(config, {"config", member}))
    for (const json::Value& item : *items)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

}  // namespace

image::Platform ImageState::platform() const {
  return {.os = std::string(json::get_string(config_, {"os"})), .architecture = std::string(json::get_string(config_, {"architecture"})), .variant = std::string(json::get_string(config_, {"variant"}))};
}

ImageState ImageState::scratch(const image::Platform& platform) {
  ImageState out;
  json::Object config;
  config["architecture"] = platform.architecture;
  config["os"] = platform.os;
  if (!platform.variant.empty()) config["variant"] = platform.variant;
  config["config"] = json::Object{{"Env", json::Array{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}};
  out.config_ = std::move(config);
  return out;
}

Result<ImageState> ImageState::from_config(std::string_view text) {
  ImageState out;
  TRY_ASSIGN(out.config_, json::parse(text));
  if (!out.config_.is_object()) return wrong("the base's configuration is not an object");
  json::Object& root = out.config_.get_object();
  // Of the base alone: its docker build's container, and what is set anew.
  for (const char* member : {"container", "container_config", "id", "parent", "docker_version", kCacheMember.data()}) root.erase(member);
  image::fit_history(out.config_);
  for (const char* member : {"rootfs", "created"})
    if (auto found = root.find(member); found != root.end()) root.stable_erase(found);
  return out;
}

json::Object& ImageState::settings() {
  json::Value& config = json::at_path(config_, {"config"});
  if (!config.is_object()) config = json::Object();
  return config.get_object();
}

void ImageState::set_list(std::string_view member, const std::vector<std::string>& items) {
  json::Array list;
  for (const std::string& item : items) list.emplace_back(item);
  settings()[member] = std::move(list);
}

std::vector<std::string> ImageState::env() const { return list_of(config_, "Env"); }

std::optional<std::string> ImageState::find_env(std::string_view name) const {
  for (const std::string& entry : env())
    if (auto [key, value] = split_once(entry, '='); key == name) return std::string(value.value_or(""));
  return std::nullopt;
}

std::string ImageState::working_dir() const {
  std::string_view path = json::get_string(config_, {"config", "WorkingDir"});
  return path.empty() ? "/" : std::string(path);
}

std::string ImageState::absolute_path(std::string_view path) const {
  std::string out = clean_path(path.starts_with('/') ? std::string(path) : cat(working_dir(), "/", path));
  if ((path.ends_with('/') || path.ends_with("/.") || path == ".") && out != "/") out += '/';
  return out;
}

std::string ImageState::user() const { return std::string(json::get_string(config_, {"config", "User"})); }

std::vector<std::string> ImageState::shell() const {
  std::vector<std::string> out = list_of(config_, "Shell");
  return out.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : out;
}

Result<std::string> ImageState::set_working_dir(std::string_view path) {
  if (path.empty()) return wrong("WORKDIR: the path is empty");
  std::string absolute = clean_path(path.starts_with('/') ? std::string(path) : cat(working_dir(), "/", path));
  settings()["WorkingDir"] = absolute;
  return absolute;
}

void ImageState::set_label(std::string_view key, std::string_view value) { json::at_path(config_, {"config", "Labels", key}) = value; }

std::vector<std::string> ImageState::take_triggers() {
  std::vector<std::string> out = list_of(config_, "OnBuild");
  settings().erase("OnBuild");
  return out;
}

Result<> ImageState::set_command(std::string_view member, const Instruction& instruction) {
  std::vector<std::string> words = instruction.words;
  if (!instruction.is_json && !instruction.arguments.empty()) {
    words = shell();
    words.push_back(instruction.arguments);
  }
  set_list(member, words);
  if (member == "Cmd") command_set_ = true;
  else if (!command_set_) settings().erase("Cmd");
  return {};
}

Result<> ImageState::set_health_check(const Instruction& instruction) {
  auto [kind, rest] = split_once(instruction.arguments, ' ');
  json::Object check;
  if (iequals(kind, "none")) {
    check["Test"] = json::Array{"NONE"};
    settings()["Healthcheck"] = std::move(check);
    return {};
  }
  if (!iequals(kind, "cmd") || !rest) return wrong(cat("HEALTHCHECK: unknown type ", kind.substr(0, 50), ": want CMD or NONE"));
  std::string_view command = trim(*rest);
  json::Array test;
  auto words = command.starts_with('[') ? json::parse(command) : Result<json::Value>(json::Value());
  if (words && words->is_array() && std::ranges::all_of(words->get_array(), [](const json::Value& w) { return w.is_string(); })) {
    test.emplace_back("CMD");
    for (const json::Value& word : words->get_array()) test.push_back(word);
  } else {
    test = {"CMD-SHELL", command};
  }
  check["Test"] = std::move(test);
  for (const Flag& flag : instruction.flags) {
    if (flag.name == "retries") {
      auto count = parse_int<int>(flag.value);
      if (!count || *count < 0) return wrong(cat("--retries=", flag.value, ": not a count"));
      check["Retries"] = *count;
      continue;
    }
    auto length = parse_duration(flag.value);
    if (!length || length->count() < 0) return wrong(cat("--", flag.name, "=", flag.value, ": not a duration"));
    check[flag.name == "interval" ? "Interval" : flag.name == "timeout" ? "Timeout" : flag.name == "start-period" ? "StartPeriod" : "StartInterval"] = length->count();
  }
  settings()["Healthcheck"] = std::move(check);
  return {};
}

Result<> ImageState::apply(const Instruction& instruction, const FindVariable& find, const WordOptions& words) {
  const std::string &name = instruction.name, &text = instruction.arguments;
  if (name == "CMD") return set_command("Cmd", instruction);
  if (name == "ENTRYPOINT") return set_command("Entrypoint", instruction);
  if (name == "HEALTHCHECK") return set_health_check(instruction);
  if (name == "SHELL") {
    if (instruction.words.empty()) return wrong("SHELL requires at least one argument");
    set_list("Shell", instruction.words);
    return {};
  }
  if (name == "ENV") {
    TRY_ASSIGN(auto pairs, expand_pairs(text, find, words));
    std::vector<std::string> all = env();
    for (const auto& [key, value] : pairs) {
      auto same = std::ranges::find_if(all, [&key](const std::string& entry) { return split_once(entry, '=').first == key; });
      if (same != all.end()) *same = cat(key, "=", value);
      else all.push_back(cat(key, "=", value));
    }
    set_list("Env", all);
    return {};
  }
  if (name == "LABEL") {
    TRY_ASSIGN(auto pairs, expand_pairs(text, find, words));
    for (const auto& [key, value] : pairs) set_label(key, value);
    return {};
  }
  if (name == "ONBUILD") {
    TRY(parse_trigger(text, instruction.line, words.escape));
    std::vector<std::string> all = list_of(config_, "OnBuild");
    all.push_back(text);
    set_list("OnBuild", all);
    return {};
  }
  if (name == "MAINTAINER") {
    json::at_path(config_, {"author"}) = text;
    return {};
  }
  if (name == "USER" || name == "STOPSIGNAL") {
    TRY_ASSIGN(std::string value, expand(text, find, words));
    if (value.empty()) return wrong(cat(name, ": the value is empty"));
    settings()[name == "USER" ? "User" : "StopSignal"] = value;
    return {};
  }
  // EXPOSE and VOLUME: sets, as objects of empty objects.
  std::vector<std::string> items;
  if (!instruction.is_json) {
    TRY_ASSIGN(items, expand_words(text, find, words));
  }
  for (const std::string& word : instruction.words) {
    TRY_ASSIGN(std::string item, expand(word, find, words));
    items.push_back(std::move(item));
  }
  for (std::string& item : items) {
    if (name == "VOLUME") {
      if (item.empty()) return wrong("VOLUME specified can not be an empty string");
      json::at_path(config_, {"config", "Volumes", item}) = json::Object();
      continue;
    }
    auto [ports, protocol] = split_once(item, '/');
    auto [first, last] = split_once(ports, '-');
    auto from = parse_int<std::uint16_t>(first), to = last ? parse_int<std::uint16_t>(*last) : from;
    std::string kind = to_lower(protocol.value_or("tcp"));
    if (!from || !to || *from == 0 || *from > *to || (kind != "tcp" && kind != "udp" && kind != "sctp")) return wrong(cat("invalid containerPort: ", item));
    for (std::uint32_t port = *from; port <= *to; ++port) json::at_path(config_, {"config", "ExposedPorts", cat(port, "/", kind)}) = json::Object();
  }
  return {};
}

void ImageState::add_history(std::string_view created_by, bool empty_layer) {
  json::Value& history = json::at_path(config_, {"history"});
  if (!history.is_array()) history = json::Array();
  json::Object step;
  step["created_by"] = created_by;
  step["comment"] = kComment;
  if (empty_layer) step["empty_layer"] = true;
  history.get_array().emplace_back(std::move(step));
}

std::string ImageState::config(const std::string& created) const {
  json::Value out = config_;
  if (created.empty()) return json::format(out);
  json::at_path(out, {"created"}) = created;
  if (json::Value* history = json::find(out, {"history"}); history != nullptr && history->is_array())
    for (json::Value& step : history->get_array())
      if (step.is_object() && !step.get_object().contains("created") && json::get_string(step, {"comment"}) == kComment) step.get_object()["created"] = created;
  return json::format(out);
}

std::string ImageState::layers_only() const {
  json::Object out;
  for (const char* member : {"architecture", "os", "variant"})
    if (const json::Value* value = json::find(config_, {member})) out[member] = *value;
  return json::format(std::move(out));
}

}  // namespace monopod::build
