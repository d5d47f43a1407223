#include "docker/call.h"

#include <algorithm>

#include "base/strings.h"
#include "docker/limits.h"

namespace monopod::docker {

namespace {
constexpr std::string_view kNotModified = "not modified";

http::Headers common_headers() { return {{"Api-Version", cat("1.", kApiMinorMax)}, {"Docker-Experimental", "false"}, {"Ostype", "linux"}}; }
}

bool Call::flag(std::string_view parameter, bool fallback) const {
  auto value = query.get(parameter);
  if (!value) return fallback;
  std::string low = to_lower(trim(*value));
  return !(low.empty() || low == "0" || low == "no" || low == "false" || low == "none");
}

Result<std::int64_t> Call::number(std::string_view parameter, std::int64_t fallback) const {
  auto value = query.get(parameter);
  if (!value || value->empty()) return fallback;
  auto number = parse_int<std::int64_t>(*value);
  if (!number) return fail(Code::kInvalidArgument, cat("invalid value for ", parameter, ": \"", *value, "\""));
  return *number;
}

async::Task<Result<json::Value>> Call::read_json(bool required) {
  CO_TRY_ASSIGN(std::string text, co_await exchange.read_body(kBodyBytesMax));
  if (trim(text).empty()) {
    if (required) co_return fail(Code::kInvalidArgument, "invalid JSON: got EOF while reading request body");
    co_return json::Object{};
  }
  auto type = exchange.request().headers.find("content-type");
  if (type && !to_lower(*type).starts_with("application/json")) co_return fail(Code::kInvalidArgument, cat("unsupported Content-Type header (", *type, "): must be 'application/json'"));
  auto parsed = json::parse(text);
  if (!parsed) co_return fail(Code::kInvalidArgument, cat("invalid JSON: ", parsed.error().message()));
  if (parsed->is_null() && !required) co_return json::Object{};
  if (!parsed->is_object()) co_return fail(Code::kInvalidArgument, "invalid JSON: want an object");
  co_return std::move(*parsed);
}

async::Task<Result<>> Call::answer(int status, const json::Value& body) {
  std::string text = json::format(body);
  text += '\n';
  http::Headers headers = common_headers();
  headers.set("Content-Type", "application/json");
  co_return co_await exchange.respond(status, std::move(headers), std::move(text));
}

async::Task<Result<>> Call::answer(int status) { co_return co_await exchange.respond(status, common_headers(), std::string()); }

async::Task<Result<>> Call::answer_error(const Error& error) {
  int status = status_of(error);
  if (status == 304) co_return co_await answer(304);
  co_return co_await answer(status, json::Object{{"message", error.message()}});
}

int status_of(const Error& error) {
  switch (error.code()) {
    case Code::kInvalidArgument:
    case Code::kOutOfRange: return error.message() == "request body too large" ? 413 : 400;
    case Code::kNotFound: return 404;
    case Code::kAborted: return error.message() == kNotModified ? 304 : 409;
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition: return 409;
    case Code::kUnauthenticated: return 401;
    case Code::kPermissionDenied: return 403;
    case Code::kUnimplemented: return 501;
    case Code::kUnavailable: return 503;
    default: return 500;
  }
}

std::unexpected<Error> not_modified() { return fail(Code::kAborted, std::string(kNotModified)); }

async::Task<Result<>> JsonLines::start() { co_return co_await exchange_.start(200, {{"Content-Type", "application/json"}}); }

async::Task<Result<>> JsonLines::write(const json::Value& value) {
  std::string text = json::format(value);
  text += "\r\n";
  co_return co_await exchange_.write(share(std::move(text)));
}

async::Task<Result<>> JsonLines::finish(Result<> ended) {
  if (!ended) {
    const std::string& message = ended.error().message();
    CO_TRY(co_await write(json::Object{{"errorDetail", json::Object{{"message", message}}}, {"error", message}}));
  }
  co_return co_await exchange_.finish();
}

Result<Filters> Filters::parse(std::string_view text) {
  Filters out;
  if (text.empty()) return out;
  auto parsed = json::parse(text);
  if (!parsed || !parsed->is_object()) return fail(Code::kInvalidArgument, "invalid filter: not a JSON object");
  for (const auto& [key, values] : parsed->get_object()) {
    std::vector<std::string>& list = out.all_[std::string(key)];
    if (const json::Array* array = values.if_array()) {
      for (const json::Value& item : *array) {
        if (!item.is_string()) return fail(Code::kInvalidArgument, cat("invalid filter '", std::string_view(key), "'"));
        list.emplace_back(item.get_string());
      }
    } else if (const json::Object* object = values.if_object()) {
      for (const auto& [item, on] : *object)
        if (on.is_bool() && on.get_bool()) list.emplace_back(item);
    } else {
      return fail(Code::kInvalidArgument, cat("invalid filter '", std::string_view(key), "'"));
    }
  }
  return out;
}

std::vector<std::string> Filters::get(std::string_view key) const {
  auto found = all_.find(std::string(key));
  return found == all_.end() ? std::vector<std::string>() : found->second;
}

bool Filters::is(std::string_view key, std::string_view value) const {
  auto found = all_.find(std::string(key));
  return found == all_.end() || std::ranges::find(found->second, value) != found->second.end();
}

Result<> Filters::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, values] : all_)
    if (std::ranges::find(known, key) == known.end()) return fail(Code::kInvalidArgument, cat("invalid filter '", key, "'"));
  return {};
}

bool Filters::labels_match(const json::Object* labels) const {
  auto holds = [&](const std::string& wanted) {
    auto [key, value] = split_once(wanted, '=');
    const json::Value* found = labels != nullptr ? labels->if_contains(key) : nullptr;
    return found != nullptr && (!value || (found->is_string() && std::string_view(found->get_string()) == *value));
  };
  return std::ranges::all_of(get("label"), holds) && std::ranges::none_of(get("label!"), holds);
}

std::vector<std::string> strings_of(const json::Value& root, std::initializer_list<std::string_view> path) {
  std::vector<std::string> out;
  const json::Value* found = json::find(root, path);
  if (found != nullptr && found->is_string()) out.emplace_back(found->get_string());
  if (found != nullptr && found->is_array())
    for (const json::Value& item : found->get_array())
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

std::map<std::string, std::string> string_map_of(const json::Value& root, std::initializer_list<std::string_view> path) {
  std::map<std::string, std::string> out;
  if (const json::Object* object = json::get_object(root, path))
    for (const auto& [key, value] : *object)
      if (value.is_string()) out[std::string(key)] = std::string(value.get_string());
  return out;
}

json::Array array_of(const std::vector<std::string>& list) { return json::Array(list.begin(), list.end()); }

json::Object object_of(const std::map<std::string, std::string>& map) {
  json::Object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

}  // namespace monopod::docker
