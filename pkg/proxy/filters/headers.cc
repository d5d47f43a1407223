// Header operations for every route of a listener.
#include "base/strings.h"
#include "http/headers.h"
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

class HeadersFilter final : public Filter {
 public:
  explicit HeadersFilter(const FilterSpec& spec) : request_(spec.request_headers), response_(spec.response_headers) {}
  Verdict on_request(const RequestView& r) const override {
    r.edits.apply(request_, r.head, r.arena);
    return {};
  }
  void on_response(Head& head, HeadEdits& edits, Arena& arena) const override { edits.apply(response_, head, arena); }

 private:
  HeaderOperations request_, response_;
};

Result<> check(const HeaderOperations& operations) {
  auto own = [](std::string_view name) { return name == "host" || name == "content-length" || name == "transfer-encoding" || name == "connection"; };
  for (const auto* list : {&operations.set, &operations.add})
    for (const HeaderValue& v : *list)
      if (!http::is_token(v.name) || !http::is_field_value(v.value) || own(v.name)) return fail(Code::kInvalidArgument, cat("\"", v.name, "\" or its value cannot be set"));
  for (const std::string& name : operations.remove)
    if (own(name)) return fail(Code::kInvalidArgument, cat("\"", name, "\" is the proxy's own"));
  return {};
}

}  // namespace

Result<FilterPtr> make_headers(const FilterSpec& spec, const FilterContext&) {
  TRY(check(spec.request_headers));
  TRY(check(spec.response_headers));
  return std::make_unique<HeadersFilter>(spec);
}

}  // namespace monopod::proxy
