#include "api/patch/field_set.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api {
namespace {

// A wire element as people read it.
std::string shown(std::string_view element) {
  std::string_view body = element.substr(2);
  switch (element[0]) {
    case 'f': return cat(".", body);
    case 'v': return cat("[=", body, "]");
    case 'i': return cat("[", body, "]");
    default: break;
  }
  auto keys = json::parse(body);
  if (!keys || !keys->is_object()) return cat("[", body, "]");
  std::vector<std::string> parts;
  for (auto& m : keys->get_object()) parts.push_back(cat(std::string_view(m.key()), "=", json::format(m.value())));
  return cat("[", join(parts, ","), "]");
}

}  // namespace

namespace {

auto position(auto& children, std::string_view element) {
  return std::ranges::lower_bound(children, element, {}, [](const auto& child) { return std::string_view(child.first); });
}

}  // namespace

FieldSet& FieldSet::at(std::string_view element) {
  auto it = children.empty() || children.back().first < element ? children.end() : position(children, element);
  if (it == children.end() || it->first != element) it = children.emplace(it, std::string(element), FieldSet());
  return it->second;
}

const FieldSet* FieldSet::find(std::string_view element) const {
  auto it = position(children, element);
  return it == children.end() || it->first != element ? nullptr : &it->second;
}

void FieldSet::prune() {
  std::erase_if(children, [](auto& c) { return c.second.empty(); });
}

bool FieldSet::unite(const FieldSet& other) {
  bool news = other.member && !member;
  member = member || other.member;
  for (auto& [element, below] : other.children) news |= at(element).unite(below);
  return news;
}

bool FieldSet::subtract(const FieldSet& other) {
  bool found = member && other.member;
  if (found) member = false;
  for (auto& [element, below] : other.children)
    if (FieldSet* mine = find(element)) found |= mine->subtract(below);
  if (found) prune();
  return found;
}

FieldSet FieldSet::intersect(const FieldSet& other) const {
  FieldSet out;
  out.member = member && other.member;
  for (auto& [element, below] : children)
    if (const FieldSet* theirs = other.find(element))
      if (FieldSet both = below.intersect(*theirs); !both.empty()) out.children.emplace_back(element, std::move(both));
  return out;
}

bool FieldSet::meets(const json::Value& text) const {
  const json::Object* fields = text.if_object();
  if (fields == nullptr) return false;
  if (member && (fields->empty() || fields->contains("."))) return true;
  return std::ranges::any_of(children, [fields](const auto& child) {
    const json::Value* theirs = fields->if_contains(child.first);
    return theirs != nullptr && child.second.meets(*theirs);
  });
}

void FieldSet::collect(const std::string& path, std::vector<std::string>& out) const {
  if (member && !path.empty()) out.push_back(path);
  for (auto& [element, below] : children) below.collect(path + shown(element), out);
}

std::vector<std::string> FieldSet::paths() const {
  std::vector<std::string> out;
  collect({}, out);
  return out;
}

json::Value FieldSet::encode(const boost::json::storage_ptr& storage) const {
  json::Object out(storage);
  out.reserve(children.size() + 1);
  if (member && !children.empty()) out.emplace(".", json::Object(storage));
  for (auto& [element, below] : children) out.emplace(element, below.encode(storage));
  return out;
}

Result<FieldSet> FieldSet::decode(const json::Value& text) {
  if (!text.is_object()) return fail(Code::kInvalidArgument, "fieldsV1: not an object");
  FieldSet out;
  for (auto& m : text.get_object()) {
    std::string_view element = m.key();
    if (element == ".") {
      out.member = true;
      continue;
    }
    if (element.size() < 2 || element[1] != ':' || std::string_view("fkvi").find(element[0]) == std::string_view::npos)
      return fail(Code::kInvalidArgument, cat("fieldsV1: bad path element ", element));
    TRY_ASSIGN(FieldSet below, decode(m.value()));
    if (below.children.empty()) below.member = true;
    out.at(element) = std::move(below);
  }
  return out;
}

}  // namespace monopod::api
