// One request of the Docker Engine API, and the answers all of them share (moby api/swagger.yaml).
#pragma once

#include <string>

#include "codec/json.h"
#include "http/exchange.h"
#include "http/query.h"

namespace monopod::docker {

struct Call {
  http::Exchange& exchange;
  http::Query query{};
  std::string name{};        // what stood for * in the route, decoded
  int minor = 50;            // the API's version, 1.minor

  std::string_view text(std::string_view parameter) const { return query.get(parameter).value_or(""); }
  // Docker's: "", 0, no, false and none are false, all else is true.
  bool flag(std::string_view parameter, bool fallback = false) const;
  // kInvalidArgument where it is there and no number.
  Result<std::int64_t> number(std::string_view parameter, std::int64_t fallback) const;

  async::Task<Result<json::Value>> read_json(bool required = true);
  async::Task<Result<>> answer(int status, const json::Value& body);
  async::Task<Result<>> answer(int status);  // without a body
  async::Task<Result<>> answer_error(const Error& error);
};

// What clients match on: 304 is no error to them.
int status_of(const Error& error);
// Of an error that means "it is so already".
std::unexpected<Error> not_modified();

// A stream of JSON documents, a line each. Errors after the head are lines too: {"errorDetail":{"message":...},"error":...}.
class JsonLines {
 public:
  explicit JsonLines(http::Exchange& exchange) : exchange_(exchange) {}
  async::Task<Result<>> start();
  async::Task<Result<>> write(const json::Value& value);
  async::Task<Result<>> finish(Result<> ended);

 private:
  http::Exchange& exchange_;
};

// Filters, as {"label":["a=b"]} or {"label":{"a=b":true}}.
class Filters {
 public:
  static Result<Filters> parse(std::string_view text);
  bool has(std::string_view key) const { return all_.contains(std::string(key)); }
  std::vector<std::string> get(std::string_view key) const;
  // True where there is no such filter, or one of its values is this.
  bool is(std::string_view key, std::string_view value) const;
  // kInvalidArgument "invalid filter 'x'".
  Result<> only(std::initializer_list<std::string_view> known) const;
  // "label" and "label!": every one must hold.
  bool labels_match(const json::Object* labels) const;

 private:
  std::map<std::string, std::vector<std::string>> all_;
};

// Members of a JSON object that may be null.
std::vector<std::string> strings_of(const json::Value& root, std::initializer_list<std::string_view> path);
std::map<std::string, std::string> string_map_of(const json::Value& root, std::initializer_list<std::string_view> path);
json::Array array_of(const std::vector<std::string>& list);
json::Object object_of(const std::map<std::string, std::string>& map);

}  // namespace monopod::docker
