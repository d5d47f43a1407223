#include "compose/files.h"

#include <algorithm>

#include "base/strings.h"
#include "compose/merge.h"
#include "docker_client/values.h"

namespace monopod::compose {
namespace {

using docker_client::absolute_path;
using json::Value;

constexpr std::size_t kFilesMax = 100;   // all together
constexpr std::size_t kExtendsMax = 50;  // one service of another, of another, ...

class Reader {
 public:
  explicit Reader(const Sources& sources) : sources_(sources) {}

  Result<Value> read(const std::vector<std::string>& paths, const std::string& directory, const FindVariable& variable) {
    Value out;
    for (const std::string& path : paths) {
      TRY_ASSIGN(Value tree, one_file(path, variable));
      TRY(named(path, extend_all(tree, path, directory, variable)));
      if (out.is_null()) out = std::move(tree);
      else TRY(named(path, merge_files(out, tree)));
    }
    TRY(named(paths.back(), drop_tags(out)));
    TRY(include_all(out, directory, variable));
    return out;
  }

 private:
  static Result<> named(const std::string& path, Result<> done) {
    if (!done) return fail(std::move(done).error().with(path));
    return {};
  }

  Result<Value> one_file(const std::string& path, const FindVariable& variable) {
    if (++files_ > kFilesMax) return fail(Code::kInvalidArgument, cat(path, ": more than ", kFilesMax, " files"));
    auto text = sources_.read_file(path);
    if (!text) return fail(std::move(text).error().with(path));
    auto tree = read_tree(*text, {.variable = variable, .read_file = sources_.read_file});
    if (!tree) return fail(std::move(tree).error().with(path));
    return tree;
  }

  Result<> extend_all(Value& tree, const std::string& path, const std::string& directory, const FindVariable& variable) {
    Value* services = tree.get_object().if_contains("services");
    if (services == nullptr || !services->is_object()) return {};
    for (auto& service : services->get_object()) {
      TRY_ASSIGN(Value whole, extended(tree, path, directory, service.key(), variable, 0));
      service.value() = std::move(whole);
    }
    return {};
  }

  // The service with what it extends under it.
  Result<Value> extended(const Value& tree, const std::string& path, const std::string& directory, std::string_view name, const FindVariable& variable, std::size_t depth) {
    if (depth > kExtendsMax) return fail(Code::kInvalidArgument, cat("services.", name, ".extends: services extend one another in a circle, or deeper than ", kExtendsMax));
    const Value* own = json::find(tree, {"services", name});
    if (own == nullptr) return fail(Code::kInvalidArgument, cat("services.", name, ": there is no such service in ", path));
    const Value* extends = json::find(*own, {"extends"});
    if (extends == nullptr) return *own;
    std::string_view other = extends->is_string() ? std::string_view(extends->get_string()) : json::get_string(*extends, {"service"});
    if (other.empty()) return fail(Code::kInvalidArgument, cat("services.", name, ".extends: service is missing"));
    Value out;
    if (std::string_view file = json::get_string(*extends, {"file"}); file.empty()) {
      TRY_ASSIGN(out, extended(tree, path, directory, other, variable, depth + 1));
    } else {
      std::string from = absolute_path(file, directory);
      TRY_ASSIGN(Value theirs, one_file(from, variable));
      TRY_ASSIGN(out, extended(theirs, from, directory_of(from), other, variable, depth + 1));
      make_service_absolute(out, directory_of(from));
    }
    Value over = *own;
    over.get_object().stable_erase("extends");
    auto merged = merge_services(out, over);
    if (!merged) return fail(std::move(merged).error().with(cat("services.", name)));
    return out;
  }

  Result<> include_all(Value& tree, const std::string& directory, const FindVariable& variable) {
    Value* found = tree.get_object().if_contains("include");
    if (found == nullptr) return {};
    json::Array list = found->is_array() ? found->get_array() : json::Array{*found};
    tree.get_object().stable_erase("include");
    for (const Value& one : list) TRY(include(tree, one, directory, variable));
    return {};
  }

  Result<> include(Value& tree, const Value& one, const std::string& directory, const FindVariable& variable) {
    if (one.is_object())
      for (const auto& [key, value] : one.get_object())
        if (std::string_view k = key; k != "path" && k != "project_directory" && k != "env_file") return fail(Code::kUnimplemented, cat("include: key \"", k, "\" is not supported"));
    std::vector<std::string> paths = one.is_object() ? texts_of(one, "path") : std::vector<std::string>{one.is_string() ? std::string(one.get_string()) : ""};
    for (std::string& path : paths) path = absolute_path(path, directory);
    if (paths.empty() || paths[0] == directory) return fail(Code::kInvalidArgument, "include: path is missing");
    std::string own = one.is_object() ? std::string(json::get_string(one, {"project_directory"})) : "";
    own = own.empty() ? directory_of(paths[0]) : absolute_path(own, directory);
    std::vector<std::string> env_files = one.is_object() ? texts_of(one, "env_file") : std::vector<std::string>();
    bool asked = !env_files.empty();
    if (!asked) env_files = {own + "/.env"};
    std::map<std::string, std::string> below;
    for (const std::string& file : env_files) {
      std::string path = absolute_path(file, directory);
      auto text = sources_.read_file(path);
      if (!text && asked) return fail(std::move(text).error().with(path));
      if (!text) continue;
      auto pairs = parse_dotenv(*text, variable);
      if (!pairs) return fail(std::move(pairs).error().with(path));
      for (auto& [name, value] : *pairs) below[name] = value;
    }
    FindVariable with_own = [&](std::string_view name) -> std::optional<std::string> {
      if (auto outer = variable(name)) return outer;
      auto found = below.find(std::string(name));
      return found == below.end() ? std::nullopt : std::optional(found->second);
    };
    TRY_ASSIGN(Value theirs, read(paths, own, with_own));
    make_file_absolute(theirs, own);
    return add_included(tree, theirs, paths[0]);
  }

  static std::vector<std::string> texts_of(const Value& one, std::string_view key) {
    std::vector<std::string> out;
    const Value* v = json::find(one, {key});
    if (v == nullptr) return out;
    for (const Value& item : v->is_array() ? v->get_array() : json::Array{*v})
      if (item.is_string()) out.emplace_back(item.get_string());
    return out;
  }

  static Result<> add_included(Value& tree, const Value& theirs, const std::string& path) {
    for (const auto& [section, members] : theirs.get_object()) {
      if (!members.is_object()) continue;  // name, version
      Value& into = tree.get_object()[section];
      if (!into.is_object()) into = json::Object();
      for (const auto& [name, value] : members.get_object()) {
        Value* there = into.get_object().if_contains(name);
        if (there != nullptr && *there != value) return fail(Code::kInvalidArgument, cat(std::string_view(section), ".", std::string_view(name), " conflicts with what ", path, " includes"));
        into.get_object()[name] = value;
      }
    }
    return {};
  }

  const Sources& sources_;
  std::size_t files_ = 0;
};

}  // namespace

std::string directory_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Result<Value> read_files(const std::vector<std::string>& paths, const std::string& directory, const Sources& sources) {
  return Reader(sources).read(paths, directory, sources.variable);
}

}  // namespace monopod::compose
