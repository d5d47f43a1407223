// Validation errors with the field they are about, in upstream's words (k8s.io/apimachinery field.Error), and the Status
// that carries them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"

namespace monopod::api {

enum class FieldReason { kRequired, kInvalid, kDuplicate, kNotSupported, kForbidden, kTooLong, kTooMany, kNotFound, kTypeInvalid, kInternal };
std::string_view cause_reason(FieldReason reason);  // "FieldValueRequired", …: details.causes[].reason

struct FieldError {
  FieldReason reason;
  std::string field;    // "spec.containers[0].image"
  std::string message;  // the body as upstream prints it after "field: ": `Invalid value: "x": must be …`
  std::string text() const { return field + ": " + message; }
};

// A growing path: Path("spec")["containers"][0]["name"]. Cheap to pass by value.
class Path {
 public:
  Path() = default;
  explicit Path(std::string text) : text_(std::move(text)) {}
  Path operator[](std::string_view child) const;  // .child
  Path operator[](const char* child) const { return (*this)[std::string_view(child)]; }
  Path operator[](std::size_t index) const;       // [3]
  Path key(std::string_view key) const;           // [key]
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class FieldErrors {
 public:
  void required(const Path& path, std::string_view detail = {});
  // value as Go prints it: a string quoted, a number bare, an object as JSON.
  void invalid(const Path& path, const json::Value& value, std::string_view detail);
  template <typename Text>
    requires(std::is_convertible_v<Text, std::string_view> && !std::is_same_v<std::decay_t<Text>, json::Value>)
  void invalid(const Path& path, const Text& value, std::string_view detail) { invalid_text(path, value, detail); }
  void duplicate(const Path& path, const json::Value& value);
  void not_supported(const Path& path, const json::Value& value, std::initializer_list<std::string_view> supported);
  void forbidden(const Path& path, std::string_view detail);
  void too_long(const Path& path, std::size_t bytes_max);
  void too_many(const Path& path, std::size_t count, std::size_t count_max);
  void add(FieldError error) { errors_.push_back(std::move(error)); }

  bool empty() const { return errors_.empty(); }
  const std::vector<FieldError>& errors() const { return errors_; }
  // "a", or "[a, b]": the errors as Go's aggregate prints them, duplicates once.
  std::string text() const;

 private:
  void invalid_text(const Path& path, std::string_view value, std::string_view detail);

  std::vector<FieldError> errors_;
};

// The body of the 422 answer: metav1.Status with details.causes; `Pod "x" is invalid: …`.
json::Value make_invalid_status(std::string_view group, std::string_view kind, std::string_view name, const FieldErrors& errors);

}  // namespace monopod::api
