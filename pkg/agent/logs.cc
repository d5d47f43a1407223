#include "agent/logs.h"

#include "base/strings.h"
#include "http/query.h"

namespace monopod::agent {

Result<LogOptions> parse_log_options(std::string_view raw_query, WallTime now) {
  http::Query query = http::parse_query(raw_query);
  LogOptions out;
  auto flag = [&](std::string_view name) {
    auto v = query.get(name);
    return v && (*v == "true" || *v == "1" || v->empty());
  };
  auto number = [&](std::string_view name) -> Result<std::optional<std::int64_t>> {
    auto v = query.get(name);
    if (!v || v->empty()) return std::optional<std::int64_t>();
    auto n = parse_int<std::int64_t>(*v);
    if (!n || *n < 0) return fail(Code::kInvalidArgument, cat(name, ": Invalid value: \"", *v, "\": must be greater than or equal to 0"));
    return n;
  };
  out.follow = flag("follow");
  out.timestamps = flag("timestamps");
  TRY_ASSIGN(out.tail_lines, number("tailLines"));
  TRY_ASSIGN(out.limit_bytes, number("limitBytes"));
  TRY_ASSIGN(auto seconds, number("sinceSeconds"));
  if (seconds) out.since = now - std::chrono::seconds(*seconds);
  if (auto at = query.get("sinceTime"); at && !at->empty()) {
    TRY_ASSIGN(out.since, parse_rfc3339(*at));
  }
  if (auto stream = query.get("stream")) out.stream = *stream;
  return out;
}

}  // namespace monopod::agent
