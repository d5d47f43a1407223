#include "compose/merge.h"

#include <algorithm>

#include "base/strings.h"
#include "docker_client/values.h"

namespace monopod::compose {
namespace {

using json::Array;
using json::Object;
using json::Value;

enum class How { kPlain, kReplace, kPairs, kNames, kByTarget, kOnce, kBuild, kLogging };
struct Rule {
  std::string_view place;  // below a service
  How how;
};
constexpr Rule kRules[] = {
    {"command", How::kReplace}, {"entrypoint", How::kReplace}, {"healthcheck.test", How::kReplace}, {"environment", How::kPairs}, {"labels", How::kPairs}, {"annotations", How::kPairs}, {"sysctls", How::kPairs},
    {"build.args", How::kPairs}, {"build.labels", How::kPairs}, {"deploy.labels", How::kPairs}, {"depends_on", How::kNames}, {"networks", How::kNames}, {"volumes", How::kByTarget}, {"secrets", How::kByTarget},
    {"configs", How::kByTarget}, {"devices", How::kByTarget}, {"build", How::kBuild}, {"logging", How::kLogging},
    {"ports", How::kOnce}, {"expose", How::kOnce}, {"dns", How::kOnce}, {"dns_search", How::kOnce}, {"dns_opt", How::kOnce}, {"tmpfs", How::kOnce}, {"env_file", How::kOnce}, {"cap_add", How::kOnce}, {"cap_drop", How::kOnce},
    {"security_opt", How::kOnce}, {"group_add", How::kOnce}, {"profiles", How::kOnce}, {"links", How::kOnce}, {"external_links", How::kOnce}, {"extra_hosts", How::kOnce},
};

How how_of(std::string_view place) {
  for (const Rule& rule : kRules)
    if (rule.place == place) return rule.how;
  return How::kPlain;
}

// The tag of {"!reset": ...}; empty where it is none.
std::string_view tag_of(const Value& v) {
  if (!v.is_object() || v.get_object().size() != 1) return {};
  std::string_view key = v.get_object().begin()->key();
  return key.starts_with('!') ? key : std::string_view();
}
const Value& tagged(const Value& v) { return v.get_object().begin()->value(); }

// [A=1, B] as {A: 1, B: null}
Value pairs_of(const Value& v) {
  if (!v.is_array()) return v;
  Object out;
  for (const Value& item : v.get_array()) {
    if (!item.is_string()) return v;
    auto [name, value] = split_once(std::string_view(item.get_string()), '=');
    out[name] = value ? Value(*value) : Value(nullptr);
  }
  return out;
}
// [a, b] as {a: , b: }
Value names_of(const Value& v) {
  if (!v.is_array()) return v;
  Object out;
  for (const Value& item : v.get_array()) {
    if (!item.is_string()) return v;
    out[item.get_string()] = nullptr;
  }
  return out;
}
Array list_of(const Value& v) { return v.is_array() ? v.get_array() : Array{v}; }

// Where in the container something is bound: "/data" of "data:/data:ro", of {target: /data}.
std::string_view target_of(const Value& v) {
  if (v.is_object()) {
    std::string_view target = json::get_string(v, {"target"});
    return target.empty() ? json::get_string(v, {"source"}) : target;
  }
  if (!v.is_string()) return {};
  auto parts = split(v.get_string(), ':');
  return parts.size() == 1 ? parts[0] : parts[1];
}

class Merger {
 public:
  std::optional<Error> wrong{};

  // place: below the service, empty for the service itself.
  void merge(Value& base, const Value& over, const std::string& place) {
    if (over.is_null()) return;
    switch (how_of(place)) {
      case How::kReplace: base = over; return;
      case How::kPairs: return join(base, pairs_of(base), pairs_of(over), place);
      case How::kNames: return join(base, names_of(base), names_of(over), place);
      case How::kByTarget: return by_target(base, over);
      case How::kOnce: return once(base, over);
      case How::kBuild: return join(base, base.is_string() ? Object{{"context", base}} : base, over.is_string() ? Object{{"context", over}} : over, place);
      case How::kLogging:
        if (json::find(over, {"driver"}) != nullptr && json::get_string(over, {"driver"}) != json::get_string(base, {"driver"})) base = over;
        else join(base, base, over, place);
        return;
      case How::kPlain: break;
    }
    if (base.is_object() && over.is_object()) return join(base, base, over, place);
    if (base.is_array() && over.is_array()) base.get_array().insert(base.get_array().end(), over.get_array().begin(), over.get_array().end());
    else base = over;
  }

  void members(Object& base, const Object& over, const std::string& place) {
    for (const auto& [key, value] : over) {
      std::string_view tag = tag_of(value);
      if (tag == "!reset") {
        base.stable_erase(key);
      } else if (Value* there = base.if_contains(key); there == nullptr || tag == "!override") {
        base[key] = tag == "!override" ? tagged(value) : value;
      } else {
        merge(*there, value, place.empty() ? std::string(key) : cat(place, ".", std::string_view(key)));
      }
    }
  }

 private:
  void join(Value& base, Value left, Value right, const std::string& place) {
    if (left.is_null()) left = Object();
    if (!left.is_object() || !right.is_object()) {
      if (!wrong) wrong = Error(Code::kInvalidArgument, cat(place, ": a map in one file, no map in another"));
      return;
    }
    members(left.get_object(), right.get_object(), place);
    base = std::move(left);
  }
  static void by_target(Value& base, const Value& over) {
    Array out = base.is_null() ? Array() : list_of(base);
    for (const Value& item : list_of(over)) {
      auto same = std::ranges::find_if(out, [&](const Value& there) { return !target_of(item).empty() && target_of(there) == target_of(item); });
      if (same == out.end()) out.push_back(item);
      else *same = item;
    }
    base = std::move(out);
  }
  static void once(Value& base, const Value& over) {
    Array out = base.is_null() ? Array() : list_of(base);
    for (const Value& item : list_of(over))
      if (std::ranges::find(out, item) == out.end()) out.push_back(item);
    base = std::move(out);
  }
};

Result<> merge_tree(Value& base, const Value& over, const std::string& place) {
  if (!base.is_object()) base = Object();
  if (!over.is_object()) return fail(Code::kInvalidArgument, "want a map");
  Merger merger;
  merger.members(base.get_object(), over.get_object(), place);
  if (merger.wrong) return fail(*merger.wrong);
  return {};
}

void make_absolute(Value& v, const std::string& directory) {
  if (v.is_string() && !v.get_string().empty()) v = docker_client::absolute_path(v.get_string(), directory);
}
bool is_address(const Value& v) { return v.is_string() && std::string_view(v.get_string()).find(":/") != std::string_view::npos; }

void make_volume_absolute(Value& volume, const std::string& directory) {
  if (volume.is_object()) {
    if (json::get_string(volume, {"type"}) == "bind" && volume.get_object().contains("source")) make_absolute(volume.get_object()["source"], directory);
  } else if (volume.is_string() && std::string_view(volume.get_string()).starts_with('.')) {
    auto [source, rest] = split_once(std::string_view(volume.get_string()), ':');
    volume = cat(docker_client::absolute_path(source, directory), rest ? ":" : "", rest.value_or(""));
  }
}

}  // namespace

Result<> merge_services(Value& base, const Value& over) { return merge_tree(base, over, ""); }

Result<> merge_files(Value& base, const Value& over) {
  if (!over.is_object()) return fail(Code::kInvalidArgument, "want a map with services");
  for (const auto& [section, members] : over.get_object()) {
    Value& there = base.get_object()[section];
    if (there.is_null() || !there.is_object() || !members.is_object() || !tag_of(members).empty()) {
      if (!members.is_null()) there = members;
      continue;
    }
    for (const auto& [name, one] : members.get_object()) {
      std::string_view tag = tag_of(one);
      Value& own = there.get_object()[name];
      if (!tag.empty() || !own.is_object() || !one.is_object()) {
        if (!one.is_null() || own.is_null()) own = one;
        continue;
      }
      // Below networks and volumes only labels and options are maps.
      auto done = merge_tree(own, one, "");
      if (!done) return fail(std::move(done).error().with(cat(std::string_view(section), ".", std::string_view(name))));
    }
  }
  return {};
}

Result<> drop_tags(Value& tree) {
  if (std::string_view tag = tag_of(tree); tag == "!override" || tag == "!reset") {
    Value inner = tag == "!reset" ? Value(nullptr) : tagged(tree);
    tree = std::move(inner);
  } else if (!tag.empty()) {
    return fail(Code::kUnimplemented, cat("tag ", tag, " is not supported"));
  }
  if (tree.is_array())
    for (Value& item : tree.get_array()) TRY(drop_tags(item));
  if (!tree.is_object()) return {};
  std::vector<std::string> gone;
  for (auto& item : tree.get_object()) {
    if (tag_of(item.value()) == "!reset") gone.emplace_back(item.key());
    else TRY(drop_tags(item.value()));
  }
  for (const std::string& key : gone) tree.get_object().stable_erase(key);
  return {};
}

void make_service_absolute(Value& service, const std::string& directory) {
  if (!service.is_object()) return;
  for (auto& item : service.get_object()) {
    Value& v = item.value();
    std::string_view key = item.key();
    if (key == "build") {
      if (v.is_object() && v.get_object().contains("context")) {
        if (!is_address(v.get_object()["context"])) make_absolute(v.get_object()["context"], directory);
      } else if (v.is_object()) {
        v.get_object()["context"] = directory;
      } else if (!is_address(v)) {
        make_absolute(v, directory);
      }
    } else if (key == "env_file" || key == "label_file") {
      if (v.is_string()) make_absolute(v, directory);
      if (!v.is_array()) continue;
      for (Value& file : v.get_array()) make_absolute(file.is_object() ? file.get_object()["path"] : file, directory);
    } else if (key == "volumes" && v.is_array()) {
      for (Value& volume : v.get_array()) make_volume_absolute(volume, directory);
    }
  }
}

void make_file_absolute(Value& tree, const std::string& directory) {
  for (std::string_view section : {"services", "secrets", "configs"}) {
    Value* members = tree.is_object() ? tree.get_object().if_contains(section) : nullptr;
    if (members == nullptr || !members->is_object()) continue;
    for (auto& one : members->get_object()) {
      if (section == "services") make_service_absolute(one.value(), directory);
      else if (one.value().is_object() && one.value().get_object().contains("file")) make_absolute(one.value().get_object()["file"], directory);
    }
  }
}

}  // namespace monopod::compose
