// get, list: from the watch cache; exact old revisions from the store.
#include <algorithm>

#include "api/convert/convert.h"
#include "api/limits.h"
#include "api/registry/registry.h"
#include "api/request_info.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

Outcome<std::int64_t> parse_version(const std::string& text) {
  if (text.empty()) return 0;
  auto value = parse_int<std::int64_t>(text);
  if (!value || *value < 0) {
    return refuse(bad_request(cat("Invalid value: \"", text, "\": strconv.ParseUint: parsing \"", text, "\": invalid syntax")));
  }
  return *value;
}

Status too_large_version(std::int64_t wanted, std::int64_t current) {
  Status status(504, "Timeout", cat("Too large resource version: ", wanted, ", current: ", current));
  status.retry_after_seconds = 1;
  status.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  return status;
}

constexpr const char* kExpiredContinue =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
    "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided "
    "token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was "
    "returned and now may show up in the list.";

// Upstream's checks of the combination of parameters (k8s.io/apimachinery ValidateListOptions).
Outcome<void> check_list_options(const ListOptions& options) {
  const std::string& match = options.resource_version_match;
  if (!match.empty() && match != "Exact" && match != "NotOlderThan")
    return refuse(bad_request(cat("resourceVersionMatch: Unsupported value: \"", match, "\": supported values: \"Exact\", \"NotOlderThan\"")));
  if (!match.empty() && options.resource_version.empty())
    return refuse(bad_request("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"));
  if (!match.empty() && !options.continue_token.empty())
    return refuse(bad_request("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"));
  if (match == "Exact" && options.resource_version == "0")
    return refuse(bad_request("resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  if (!options.continue_token.empty() && !options.resource_version.empty() && options.resource_version != "0")
    return refuse(bad_request("specifying resource version is not allowed when using continue"));
  return {};
}

}  // namespace

std::string format_continue(const ContinueToken& token) {
  json::Object body{{"v", "meta.k8s.io/v1"}, {"rv", token.revision}, {"start", token.start}};
  return format_base64url(json::format(body));
}

Outcome<ContinueToken> parse_continue(std::string_view text) {
  const Status broken = bad_request("continue key is not valid: the token cannot be read");
  auto bytes = parse_base64url(text);
  if (!bytes) return refuse(broken);
  auto body = json::parse(*bytes);
  if (!body || json::get_string(*body, {"v"}) != "meta.k8s.io/v1") return refuse(broken);
  ContinueToken token{json::get_int(*body, {"rv"}), std::string(json::get_string(*body, {"start"}))};
  if (token.revision == 0 || token.revision < -1 || token.start.empty() || token.start.front() != '/') return refuse(broken);
  token.start.erase(0, 1);
  // A start key names namespace and name of this resource only: it is compared, and appended to this resource's own prefix.
  std::string_view key(token.start);
  if (key.ends_with('\0')) key.remove_suffix(1);
  if (key.empty()) return refuse(broken);
  for (std::string_view segment : split(key, '/'))
    if (!valid_segment(segment)) return refuse(broken);
  if (split(key, '/').size() > 2) return refuse(broken);
  return token;
}

ComputedObjects* Registry::find_computed(const Call& call) const {
  auto found = std::ranges::find_if(computed_, [&](const ComputedObjects* c) { return c->group() == call.resource->group(); });
  return found == computed_.end() ? nullptr : *found;
}

async::Task<Outcome<ObjectPtr>> Registry::get(Call& call, std::string resource_version) {
  if (ComputedObjects* computed = find_computed(call)) {
    Selection one;
    one.resource = call.resource;
    one.ns = call.ns;
    one.name = call.name;
    CO_OUT_ASSIGN(std::vector<ObjectPtr> found, co_await computed->list(std::move(one)));
    if (found.empty()) co_return refuse(not_found({call.resource->group(), call.resource->singular()}, call.resource->namespaced ? cat(call.ns, '/', call.name) : call.name));
    co_return found.front();
  }
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  CO_OUT_ASSIGN(std::int64_t wanted, parse_version(resource_version));
  if (resource_version.empty()) {
    CO_OUT(co_await caches_.fresh());
  } else if (wanted > caches_.revision()) {
    Result<> reached = co_await caches_.wait_for(wanted);
    if (!reached) co_return refuse(too_large_version(wanted, caches_.revision()));
  }
  ObjectPtr object = cache->find(call.resource->namespaced ? cat(call.ns, '/', call.name) : call.name);
  if (!object) co_return refuse(not_found(call.ref(), call.name));
  co_return object;
}

async::Task<Outcome<ListResult>> Registry::list(Call& call, ListOptions options) {
  if (ComputedObjects* computed = find_computed(call)) {
    CO_OUT(check_list_options(options));
    CO_OUT_ASSIGN(Selection selection, make_selection(*call.resource, call.ns, options.label_selector, options.field_selector));
    CO_OUT_ASSIGN(std::vector<ObjectPtr> found, co_await computed->list(std::move(selection)));
    co_return ListResult{.items = std::move(found)};
  }
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  CO_OUT(check_list_options(options));
  CO_OUT_ASSIGN(Selection selection, make_selection(*call.resource, call.ns, options.label_selector, options.field_selector));
  selection.resource = &working_resource(*call.resource);  // fields are asked for in the form that is served, found in the one that is stored
  CO_OUT_ASSIGN(std::int64_t wanted, parse_version(options.resource_version));
  std::int64_t limit = std::clamp<std::int64_t>(options.limit, 0, kListLimitMax);
  if (!options.continue_token.empty()) {
    CO_OUT_ASSIGN(ContinueToken token, parse_continue(options.continue_token));
    if (token.revision < 0) token.revision = store_.current_revision().value;  // the way on that an expired answer offered
    co_return co_await list_at(call, *cache, std::move(selection), token.revision, std::move(token.start), limit);
  }
  if (options.resource_version_match == "Exact" && wanted != caches_.revision())
    co_return co_await list_at(call, *cache, std::move(selection), wanted, "", limit);

  if (options.resource_version.empty()) {
    CO_OUT(co_await caches_.fresh());
  } else if (wanted > caches_.revision()) {
    Result<> reached = co_await caches_.wait_for(wanted);
    if (!reached) co_return refuse(too_large_version(wanted, caches_.revision()));
  }
  ListResult result;
  std::int64_t revision = caches_.revision();
  result.resource_version = std::to_string(revision);
  std::string prefix = call.ns.empty() ? "" : cat(call.ns, '/');
  std::int64_t left = 0;
  for (auto it = cache->first_of(call.ns); it != cache->objects().end(); ++it) {
    if (!(*it)->key().starts_with(prefix)) break;
    if (!selection.matches(**it)) continue;
    if (limit > 0 && std::ssize(result.items) == limit) {
      ++left;
      continue;
    }
    result.items.push_back(*it);
  }
  if (left > 0) {
    result.continue_token = format_continue({revision, cat('/', result.items.back()->key(), '\0')});
    if (selection.labels.empty() && selection.fields.empty()) result.remaining = left;
  }
  co_return result;
}

// A page of the state at one revision. The cache answers while it still is that state, else the store's history does.
async::Task<Outcome<ListResult>> Registry::list_at(Call& call, WatchCache& cache, Selection selection, std::int64_t revision,
                                                   std::string start, std::int64_t limit) {
  const Resource& stored = cache.resource();
  std::string scope = store_prefix(stored);
  if (stored.namespaced && !call.ns.empty()) scope += cat(call.ns, '/');
  store::RangeRequest request{.key = scope, .range_end = store::prefix_end(scope), .revision = store::Revision(revision)};
  if (!start.empty()) request.key = std::max(scope, cat(store_prefix(stored), start));
  request.limit = limit > 0 ? limit + 1 : 0;
  if (request.limit > 0 && (!selection.labels.empty() || !selection.fields.empty() || !selection.name.empty()))
    request.limit = std::max<std::int64_t>(request.limit, 500);

  ListResult result;
  result.resource_version = std::to_string(revision);
  Slice slice;
  while (true) {
    Result<store::RangeResult> page = co_await store_.range(request);
    if (!page && page.error().code() == Code::kOutOfRange) {
      if (start.empty()) co_return refuse(expired(cat("The resourceVersion for the provided list is too old.")));
      Status status = expired(kExpiredContinue);
      status.continue_token = format_continue({-1, cat('/', start)});
      co_return refuse(std::move(status));
    }
    CO_OUT(page);
    for (const store::KeyValue& kv : page->kvs) {
      auto object = cache.read(*kv.value, kv.mod.value);
      if (!object || !selection.matches(**object)) continue;
      if (limit > 0 && std::ssize(result.items) == limit) {
        result.continue_token = format_continue({revision, cat('/', result.items.back()->key(), '\0')});
        if (selection.labels.empty() && selection.fields.empty())
          result.remaining = page->count - static_cast<std::int64_t>(&kv - page->kvs.data());
        co_return result;
      }
      result.items.push_back(std::move(*object));
      if (slice.spent()) CO_OUT(co_await slice.yield());
    }
    if (!page->more || page->kvs.empty()) break;
    request.key = page->kvs.back().key + '\0';
  }
  co_return result;
}

}  // namespace monopod::api
