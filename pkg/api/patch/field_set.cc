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

const FieldSet* FieldSet::find(std::string_view element) const {
  auto it = children.find(element);
  return it == children.end() ? nullptr : &it->second;
}

void FieldSet::prune() {
  std::erase_if(children, [](auto& c) { return c.second.empty(); });
}

bool FieldSet::unite(const FieldSet& other) {
  bool news = other.member && !member;
  member = member || other.member;
  for (auto& [element, below] : other.children) news |= children[element].unite(below);
  return news;
}

bool FieldSet::subtract(const FieldSet& other) {
  bool found = member && other.member;
  if (found) member = false;
  for (auto& [element, below] : other.children)
    if (auto it = children.find(element); it != children.end()) found |= it->second.subtract(below);
  if (found) prune();
  return found;
}

FieldSet FieldSet::intersect(const FieldSet& other) const {
  FieldSet out;
  out.member = member && other.member;
  for (auto& [element, below] : children)
    if (const FieldSet* theirs = other.find(element))
      if (FieldSet both = below.intersect(*theirs); !both.empty()) out.children.emplace(element, std::move(both));
  return out;
}

void FieldSet::erase(std::initializer_list<std::string_view> path) {
  std::vector<FieldSet*> way{this};
  for (auto it = path.begin(); it + 1 != path.end(); ++it) {
    auto child = way.back()->children.find(*it);
    if (child == way.back()->children.end()) return;
    way.push_back(&child->second);
  }
  if (auto last = way.back()->children.find(*(path.end() - 1)); last != way.back()->children.end()) way.back()->children.erase(last);
  for (auto it = way.rbegin(); it != way.rend(); ++it) (*it)->prune();
}

void FieldSet::erase_member(std::initializer_list<std::string_view> path) {
  FieldSet* at = this;
  for (std::string_view element : path) {
    auto it = at->children.find(element);
    if (it == at->children.end()) return;
    at = &it->second;
  }
  at->member = false;
  if (at->children.empty()) erase(path);
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

json::Value FieldSet::encode() const {
  json::Object out;
  if (member && !children.empty()) out["."] = json::Object();
  for (auto& [element, below] : children) out[element] = below.encode();
  return out;
}

bool FieldSet::is_written_as(const json::Value& text) const {
  const json::Object* object = text.if_object();
  const std::size_t dots = member && !children.empty() ? 1 : 0;
  if (object == nullptr || object->size() != children.size() + dots) return false;
  auto at = object->begin();
  if (dots != 0 && (at++)->key() != ".") return false;
  return std::ranges::all_of(children, [&at](const auto& child) {
    const auto& written = *at++;
    return std::string_view(written.key()) == child.first && child.second.is_written_as(written.value());
  });
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
