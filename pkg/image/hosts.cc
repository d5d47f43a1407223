#include "image/hosts.h"

#include <algorithm>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::image {
namespace {

// What of TOML (v1.0) such files use: comments, tables with quoted names, strings, booleans, lists of strings on one line or several.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<RegistryHosts> read() {
    RegistryHosts out;
    at_ = &out.server;
    for (skip_blank(); !done(); skip_blank()) {
      if (peek() == '[') TRY(read_table(out));
      else TRY(read_pair(out));
      skip_space();
      if (!done() && peek() == '#') skip_line();
      else if (!done() && peek() != '\n' && peek() != '\r') return wrong("unexpected text after a value");
    }
    return out;
  }

 private:
  bool done() const { return text_.empty(); }
  char peek() const { return text_.front(); }
  void next() {
    if (peek() == '\n') ++line_;
    text_.remove_prefix(1);
  }
  void skip_space() {
    while (!done() && (peek() == ' ' || peek() == '\t')) next();
  }
  void skip_line() {
    while (!done() && peek() != '\n') next();
  }
  // White space, line ends, comments.
  void skip_blank() {
    for (; !done() && (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n' || peek() == '#');)
      if (peek() == '#') skip_line();
      else next();
  }
  std::unexpected<Error> wrong(std::string_view why) const { return fail(Code::kInvalidArgument, cat("line ", line_, ": ", why)); }
  bool take(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  Result<std::string> read_string() {
    if (done() || (peek() != '"' && peek() != '\'')) return wrong("want a string");
    const char quote = peek();
    next();
    std::string out;
    while (!done() && peek() != quote) {
      if (peek() == '\n') return wrong("a string without its end");
      if (peek() == '\\' && quote == '"') {
        next();
        if (done() || (peek() != '"' && peek() != '\\')) return wrong("this escape is not supported");
      }
      out += peek();
      next();
    }
    if (done()) return wrong("a string without its end");
    next();
    return out;
  }

  Result<std::vector<std::string>> read_strings() {
    std::vector<std::string> out;
    if (done() || peek() != '[') {
      TRY_ASSIGN(std::string one, read_string());
      out.push_back(std::move(one));
      return out;
    }
    next();
    for (skip_blank(); !done() && peek() != ']'; skip_blank()) {
      TRY_ASSIGN(std::string one, read_string());
      out.push_back(std::move(one));
      skip_blank();
      if (!done() && peek() == ',') next();
      else if (!done() && peek() != ']') return wrong("want ',' or ']'");
    }
    if (done()) return wrong("a list without its end");
    next();
    return out;
  }

  Result<bool> read_bool() {
    if (take("true")) return true;
    if (take("false")) return false;
    return wrong("want true or false");
  }

  Result<> check_url(const std::string& url) const {
    std::size_t scheme = url.starts_with("https://") ? 8 : url.starts_with("http://") ? 7 : 0;
    if (scheme == 0 || url.size() == scheme) return wrong(cat("\"", url, "\" is no http:// or https:// address"));
    if (url.find('/', scheme) != std::string::npos) return wrong(cat("\"", url, "\": an address with a path is not supported"));
    return {};
  }

  Result<> read_table(RegistryHosts& out) {
    if (!take("[host.")) return wrong("only [host.\"https://...\"] tables are supported");
    TRY_ASSIGN(std::string url, read_string());
    if (done() || peek() != ']') return wrong("only [host.\"https://...\"] tables are supported");
    next();
    if (url.ends_with('/')) url.pop_back();
    TRY(check_url(url));
    if (std::ranges::find(out.hosts, url, &RegistryHost::url) != out.hosts.end()) return wrong(cat("\"", url, "\" stands twice"));
    out.hosts.push_back({.url = std::move(url), .ca_files = {}});
    at_ = &out.hosts.back();
    return {};
  }

  Result<> read_pair(RegistryHosts& out) {
    std::string_view key = text_.substr(0, text_.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"));
    text_.remove_prefix(key.size());
    skip_space();
    if (key.empty() || done() || peek() != '=') return wrong("want key = value");
    next();
    skip_space();
    if (key == "server" && at_ == &out.server) {
      TRY_ASSIGN(at_->url, read_string());
      if (at_->url.ends_with('/')) at_->url.pop_back();
      return check_url(at_->url);
    }
    if (key == "capabilities") {
      TRY_ASSIGN(std::vector<std::string> words, read_strings());
      for (const std::string& word : words)
        if (word != "pull" && word != "resolve" && word != "push") return wrong(cat("capability \"", word, "\" is not pull, resolve or push"));
      at_->pull = std::ranges::count(words, "pull") > 0;
      at_->push = std::ranges::count(words, "push") > 0;
      return {};
    }
    if (key == "ca") {
      TRY_ASSIGN(at_->ca_files, read_strings());
      return {};
    }
    if (key == "skip_verify") {
      TRY_ASSIGN(at_->skip_verify, read_bool());
      return {};
    }
    return wrong(cat("key \"", key, "\" is not supported"));
  }

  std::string_view text_;
  RegistryHost* at_ = nullptr;
  std::size_t line_ = 1;
};

}  // namespace

Result<RegistryHosts> parse_hosts(std::string_view toml) { return Reader(toml).read(); }

Result<RegistryHosts> read_hosts(const std::string& config_dir, const std::string& domain) {
  for (const std::string& folder : {domain, std::string("_default")}) {
    std::string path = cat(config_dir, "/", folder, "/hosts.toml");
    auto text = sys::read_host_file(path, kHostsBytesMax);
    if (!text && text.error().code() == Code::kNotFound) continue;
    if (!text) return fail(std::move(text).error());
    auto hosts = parse_hosts(*text);
    if (!hosts) return fail(std::move(hosts).error().with(path));
    return hosts;
  }
  return RegistryHosts{};
}

}  // namespace monopod::image
