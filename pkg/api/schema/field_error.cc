#include "api/schema/field_error.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api {
namespace {

// As Go's %q for the texts that names and values are made of.
std::string quoted(std::string_view text) {
  return boost::json::serialize(boost::json::string(text));
}

std::string shown(const json::Value& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return quoted(value.get_string());
  return json::format(value);
}

}  // namespace

std::string_view cause_reason(FieldReason reason) {
  switch (reason) {
    case FieldReason::kRequired: return "FieldValueRequired";
    case FieldReason::kInvalid: return "FieldValueInvalid";
    case FieldReason::kDuplicate: return "FieldValueDuplicate";
    case FieldReason::kNotSupported: return "FieldValueNotSupported";
    case FieldReason::kForbidden: return "FieldValueForbidden";
    case FieldReason::kTooLong: return "FieldValueTooLong";
    case FieldReason::kTooMany: return "FieldValueTooMany";
    case FieldReason::kNotFound: return "FieldValueNotFound";
    case FieldReason::kTypeInvalid: return "FieldValueTypeInvalid";
    case FieldReason::kInternal: return "InternalError";
  }
  return {};
}

Path Path::operator[](std::string_view child) const { return Path(text_.empty() ? std::string(child) : cat(text_, ".", child)); }
Path Path::operator[](std::size_t index) const { return Path(cat(text_, "[", index, "]")); }
Path Path::key(std::string_view key) const { return Path(cat(text_, "[", key, "]")); }

void FieldErrors::required(const Path& path, std::string_view detail) {
  errors_.push_back({FieldReason::kRequired, path.text(), detail.empty() ? "Required value" : cat("Required value: ", detail)});
}
void FieldErrors::invalid(const Path& path, const json::Value& value, std::string_view detail) {
  errors_.push_back({FieldReason::kInvalid, path.text(), cat("Invalid value: ", shown(value), detail.empty() ? "" : ": ", detail)});
}
void FieldErrors::invalid_text(const Path& path, std::string_view value, std::string_view detail) {
  errors_.push_back({FieldReason::kInvalid, path.text(), cat("Invalid value: ", quoted(value), detail.empty() ? "" : ": ", detail)});
}
void FieldErrors::duplicate(const Path& path, const json::Value& value) {
  errors_.push_back({FieldReason::kDuplicate, path.text(), cat("Duplicate value: ", shown(value))});
}
void FieldErrors::not_supported(const Path& path, const json::Value& value, std::initializer_list<std::string_view> supported) {
  std::vector<std::string> names;
  for (std::string_view s : supported) names.push_back(quoted(s));
  std::ranges::sort(names);
  errors_.push_back({FieldReason::kNotSupported, path.text(), cat("Unsupported value: ", shown(value), ": supported values: ", join(names, ", "))});
}
void FieldErrors::forbidden(const Path& path, std::string_view detail) {
  errors_.push_back({FieldReason::kForbidden, path.text(), cat("Forbidden: ", detail)});
}
void FieldErrors::too_long(const Path& path, std::size_t bytes_max) {
  errors_.push_back({FieldReason::kTooLong, path.text(), cat("Too long: may not be more than ", bytes_max, " bytes")});
}
void FieldErrors::too_many(const Path& path, std::size_t count, std::size_t count_max) {
  errors_.push_back({FieldReason::kTooMany, path.text(), cat("Too many: ", count, ": must have at most ", count_max, " items")});
}

std::string FieldErrors::text() const {
  std::vector<std::string> lines;
  for (const FieldError& e : errors_)
    if (std::string line = e.text(); std::ranges::find(lines, line) == lines.end()) lines.push_back(std::move(line));
  if (lines.size() == 1) return lines[0];
  return cat("[", join(lines, ", "), "]");
}

json::Value make_invalid_status(std::string_view group, std::string_view kind, std::string_view name, const FieldErrors& errors) {
  std::string qualified = group.empty() ? std::string(kind) : cat(kind, ".", group);
  json::Array causes;
  for (const FieldError& e : errors.errors())
    causes.push_back({{"reason", cause_reason(e.reason)}, {"message", e.message}, {"field", e.field}});
  json::Object details{{"name", name}, {"group", group}, {"kind", kind}, {"causes", std::move(causes)}};
  if (name.empty()) details.erase("name");
  if (group.empty()) details.erase("group");
  return json::Object{{"kind", "Status"},
                      {"apiVersion", "v1"},
                      {"metadata", json::Object()},
                      {"status", "Failure"},
                      {"message", cat(qualified, " ", quoted(name), " is invalid: ", errors.text())},
                      {"reason", "Invalid"},
                      {"details", std::move(details)},
                      {"code", 422}};
}

}  // namespace monopod::api
