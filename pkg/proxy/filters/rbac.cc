// Who may do what. action allow: what no rule matches is refused; deny: what one matches is. A regular expression that takes too long refuses. A header
// that is missing matches nothing but its absence (H12).
#include "base/log.h"
#include "proxy/filters/filters.h"
#include "proxy/route/table.h"

namespace monopod::proxy {
namespace {

bool any_matches(const std::vector<TextMatcher>& matchers, std::string_view text, MatchBudget& budget) {
  for (const TextMatcher& m : matchers)
    if (m.matches(&text, budget)) return true;
  return false;
}

struct Match {
  std::vector<TextMatcher> principals, common_names, paths, hosts;
  std::vector<std::string> methods;
  std::vector<Cidr> sources;
  std::vector<NamedMatcher> headers;

  bool principal_matches(const RequestView& r) const {
    if (!common_names.empty() && (r.peer.common_name.empty() || !any_matches(common_names, r.peer.common_name, r.budget))) return false;
    if (principals.empty()) return true;
    for (const std::string& uri : r.peer.uris)
      if (any_matches(principals, uri, r.budget)) return true;
    return false;
  }
  bool matches(const RequestView& r) const {
    if (!paths.empty() && !any_matches(paths, r.path, r.budget)) return false;
    if (!hosts.empty() && !any_matches(hosts, r.host, r.budget)) return false;
    if (!methods.empty() && std::ranges::find(methods, r.head.method) == methods.end()) return false;
    if (!sources.empty() && std::ranges::none_of(sources, [&r](const Cidr& c) { return c.contains(r.source); })) return false;
    return principal_matches(r) && headers_match(headers, r.head, r.budget, &r.edits);
  }
};

struct Rule {
  std::string name;
  Match match;
  std::optional<Match> except;
  bool matches(const RequestView& r) const { return match.matches(r) && !(except && except->matches(r)); }
};

class RbacFilter final : public Filter {
 public:
  RbacFilter(const RbacSpec& spec, std::vector<Rule> rules) : deny_(spec.deny), shadow_(spec.shadow), rules_(std::move(rules)) {}

  Verdict on_request(const RequestView& r) const override {
    const Rule* matched = nullptr;
    for (const Rule& rule : rules_)
      if (rule.matches(r)) {
        matched = &rule;
        break;
      }
    if ((matched != nullptr) != deny_ && !r.budget.spent) return {};
    if (shadow_) {
      log::info("rbac would deny", {{"method", r.head.method}, {"path", r.path}, {"rule", matched != nullptr ? std::string_view(matched->name) : std::string_view()}});
      return {};
    }
    return {.kind = Verdict::kAnswer, .status = 403, .body = "RBAC: access denied\n", .details = "rbac_denied"};
  }

 private:
  bool deny_, shadow_;
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

Result<Match> compile_match(const RbacMatch& from) {
  Match out;
  TRY_ASSIGN(out.principals, compile_all(from.principals));
  TRY_ASSIGN(out.common_names, compile_all(from.common_names));
  TRY_ASSIGN(out.paths, compile_all(from.paths));
  TRY_ASSIGN(out.hosts, compile_all(from.hosts));
  out.methods = from.methods;
  for (const std::string& source : from.sources) {
    TRY_ASSIGN(Cidr cidr, Cidr::parse(source));
    out.sources.push_back(cidr);
  }
  for (const NamedMatch& header : from.headers) {
    TRY_ASSIGN(TextMatcher matcher, TextMatcher::compile(header.match));
    out.headers.push_back({header.name, std::move(matcher)});
  }
  return out;
}

}  // namespace

Result<FilterPtr> make_rbac(const FilterSpec& spec, const FilterContext&) {
  std::vector<Rule> rules;
  for (const RbacRule& from : spec.rbac.rules) {
    Rule& rule = rules.emplace_back();
    rule.name = from.name;
    TRY_ASSIGN(rule.match, compile_match(from.match));
    if (from.except) {
      TRY_ASSIGN(rule.except, compile_match(*from.except));
    }
  }
  return std::make_unique<RbacFilter>(spec.rbac, std::move(rules));
}

}  // namespace monopod::proxy
