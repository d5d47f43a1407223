#include "http/headers.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::http {
namespace {

std::string clean(std::string_view value) {
  std::string out(value);
  unsigned controls = 0;
  for (char c : value) controls |= static_cast<unsigned char>(c) < 0x20 ? 1U : 0U;  // no early end: so it takes many at a time
  if (controls != 0) std::ranges::replace_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return out;
}

// Most names differ in length.
bool same_name(std::string_view a, std::string_view b) { return a.size() == b.size() && iequals(a, b); }

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

Headers::Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  fields_.reserve(fields.size());
  for (const auto& [name, value] : fields) add(name, value);
}

void Headers::add(std::string_view name, std::string_view value) {
  fields_.push_back({clean(name), clean(value)});
}

void Headers::set(std::string_view name, std::string_view value) {
  auto first = std::ranges::find_if(fields_, [&](const Field& f) { return same_name(f.name, name); });
  if (first == fields_.end()) return add(name, value);
  first->value = clean(value);
  fields_.erase(std::remove_if(std::next(first), fields_.end(), [&](const Field& f) { return same_name(f.name, name); }),
                fields_.end());
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const Field& f) { return same_name(f.name, name); });
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Field& field : fields_)
    if (same_name(field.name, name)) return field.value;
  return std::nullopt;
}

std::vector<std::string_view> Headers::find_all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const Field& field : fields_)
    if (same_name(field.name, name)) out.push_back(field.value);
  return out;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (std::string_view value : find_all(name))
    for (std::string_view part : split(value, ','))
      if (iequals(trim(part), token)) return true;
  return false;
}

std::size_t Headers::bytes() const {
  std::size_t sum = 0;
  for (const Field& field : fields_) sum += field.name.size() + field.value.size();
  return sum;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

}  // namespace monopod::http
