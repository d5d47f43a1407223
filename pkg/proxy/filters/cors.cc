// Cross-origin resource sharing (fetch.spec.whatwg.org): preflights of allowed origins are answered here, other answers get the headers that let a
// browser show them. An origin that is not allowed passes unmarked: its browser refuses.
#include "base/strings.h"
#include "http/headers.h"
#include "proxy/filters/filters.h"
#include "proxy/route/match.h"

namespace monopod::proxy {
namespace {

class CorsFilter final : public Filter {
 public:
  CorsFilter(const CorsSpec& spec, std::vector<TextMatcher> origins)
      : origins_(std::move(origins)), methods_(join(spec.allow_methods, ", ")), headers_(join(spec.allow_headers, ", ")), expose_(join(spec.expose_headers, ", ")),
        max_age_(spec.max_age_s > 0 ? cat(spec.max_age_s) : ""), credentials_(spec.allow_credentials) {}

  Verdict on_request(const RequestView& r) const override {
    const FieldSpan* field = r.head.find("origin");
    if (field == nullptr) return {};
    std::string_view origin = r.head.value(*field);
    bool allowed = false;
    for (const TextMatcher& m : origins_) allowed = allowed || m.matches(&origin, r.budget);
    r.answer_edits.add(r.arena, "vary", "Origin");
    if (!allowed) return {};
    r.answer_edits.add(r.arena, "access-control-allow-origin", origin);
    if (credentials_) r.answer_edits.add(r.arena, "access-control-allow-credentials", "true");
    if (r.head.method != "OPTIONS" || r.head.find("access-control-request-method") == nullptr) {
      if (!expose_.empty()) r.answer_edits.add(r.arena, "access-control-expose-headers", expose_);
      return {};
    }
    if (!methods_.empty()) r.answer_edits.add(r.arena, "access-control-allow-methods", methods_);
    if (!headers_.empty()) r.answer_edits.add(r.arena, "access-control-allow-headers", headers_);
    if (!max_age_.empty()) r.answer_edits.add(r.arena, "access-control-max-age", max_age_);
    return {.kind = Verdict::kAnswer, .status = 204, .details = "cors_preflight"};
  }

 private:
  std::vector<TextMatcher> origins_;
  std::string methods_, headers_, expose_, max_age_;
  bool credentials_;
};

}  // namespace

Result<FilterPtr> make_cors(const FilterSpec& spec, const FilterContext&) {
  std::vector<TextMatcher> origins;
  for (const StringMatch& match : spec.cors.allow_origins) {
    TRY_ASSIGN(TextMatcher matcher, TextMatcher::compile(match));
    origins.push_back(std::move(matcher));
  }
  for (const auto* list : {&spec.cors.allow_methods, &spec.cors.allow_headers, &spec.cors.expose_headers})
    for (const std::string& name : *list)
      if (!http::is_token(name)) return fail(Code::kInvalidArgument, cat("\"", name, "\" is no token"));
  return std::make_unique<CorsFilter>(spec.cors, std::move(origins));
}

}  // namespace monopod::proxy
