// Who may do what. action allow: what no rule matches is refused; deny: what one matches is. A regular expression that takes too long refuses.
#include "proxy/filters/filters.h"
#include "proxy/route/table.h"

namespace monopod::proxy {
namespace {

struct Rule {
  std::vector<TextMatcher> principals, paths;
  std::vector<std::string> methods;
  std::vector<Cidr> sources;
  std::vector<NamedMatcher> headers;
};

bool any_matches(const std::vector<TextMatcher>& matchers, std::string_view text, MatchBudget& budget) {
  for (const TextMatcher& m : matchers)
    if (m.matches(&text, budget)) return true;
  return false;
}

class RbacFilter final : public Filter {
 public:
  RbacFilter(bool deny, std::vector<Rule> rules) : deny_(deny), rules_(std::move(rules)) {}

  Verdict on_request(const RequestView& r) const override {
    bool matched = false;
    for (const Rule& rule : rules_) matched = matched || matches(rule, r);
    if (matched != deny_ && !r.budget.spent) return {};
    return {.kind = Verdict::kAnswer, .status = 403, .body = "RBAC: access denied\n", .details = "rbac_denied"};
  }

 private:
  static bool principal_matches(const Rule& rule, const RequestView& r) {
    if (rule.principals.empty()) return true;
    for (const std::string& uri : r.peer.uris)
      if (any_matches(rule.principals, uri, r.budget)) return true;
    return false;
  }
  static bool matches(const Rule& rule, const RequestView& r) {
    if (!rule.paths.empty() && !any_matches(rule.paths, r.path, r.budget)) return false;
    if (!rule.methods.empty() && std::ranges::find(rule.methods, r.head.method) == rule.methods.end()) return false;
    if (!rule.sources.empty() && std::ranges::none_of(rule.sources, [&r](const Cidr& c) { return c.contains(r.source); })) return false;
    return principal_matches(rule, r) && headers_match(rule.headers, r.head, r.budget);
  }

  bool deny_;
  std::vector<Rule> rules_;
};

Result<std::vector<TextMatcher>> compile_all(const std::vector<StringMatch>& matches) {
  std::vector<TextMatcher> out;
  for (const StringMatch& match : matches) {
    TRY_ASSIGN(TextMatcher matcher, TextMatcher::compile(match));
    out.push_back(std::move(matcher));
  }
  return out;
}

}  // namespace

Result<FilterPtr> make_rbac(const FilterSpec& spec) {
  std::vector<Rule> rules;
  for (const RbacRule& from : spec.rbac.rules) {
    Rule& rule = rules.emplace_back();
    TRY_ASSIGN(rule.principals, compile_all(from.principals));
    TRY_ASSIGN(rule.paths, compile_all(from.paths));
    rule.methods = from.methods;
    for (const std::string& source : from.sources) {
      TRY_ASSIGN(Cidr cidr, Cidr::parse(source));
      rule.sources.push_back(cidr);
    }
    for (const NamedMatch& header : from.headers) {
      TRY_ASSIGN(TextMatcher matcher, TextMatcher::compile(header.match));
      rule.headers.push_back({header.name, std::move(matcher)});
    }
  }
  return std::make_unique<RbacFilter>(spec.rbac.deny, std::move(rules));
}

}  // namespace monopod::proxy
