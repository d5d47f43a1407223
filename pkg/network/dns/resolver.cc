#include "network/dns/resolver.h"

#include <algorithm>

#include "base/strings.h"
#include "network/dns/exchange.h"

namespace monopod::network::dns {
namespace {

constexpr int kAliasesMax = 16;

}  // namespace

std::vector<IpAddress> find_in_hosts(std::string_view hosts, std::string_view name) {
  std::vector<IpAddress> out;
  for (std::string_view line : split(hosts, '\n')) {
    line = line.substr(0, line.find('#'));
    std::string text(line);
    std::ranges::replace(text, '\t', ' ');
    std::vector<std::string_view> words = split(text, ' ');
    std::erase(words, std::string_view());
    if (words.size() < 2 || std::none_of(words.begin() + 1, words.end(), [&](std::string_view w) { return iequals(trim(w), name); })) continue;
    if (Result<IpAddress> ip = parse_ip(words[0])) out.push_back(*ip);
  }
  return out;
}

std::vector<IpAddress> addresses_of(const Response& response, std::string name) {
  std::vector<IpAddress> out;
  for (int step = 0; step < kAliasesMax; ++step) {
    const Record* alias = nullptr;
    for (const Record& record : response.answers) {
      if (record.name != name) continue;
      auto bytes = reinterpret_cast<const std::uint8_t*>(record.data.data());
      if (record.type == kA && record.data.size() == 4) out.push_back(IpAddress::v4(std::span<const std::uint8_t, 4>(bytes, 4)));
      if (record.type == kAaaa && record.data.size() == 16) out.push_back(IpAddress::v6(std::span<const std::uint8_t, 16>(bytes, 16)));
      if (record.type == kCname) alias = &record;
    }
    if (!out.empty() || alias == nullptr) break;
    name = alias->data;
  }
  return out;
}

std::vector<std::string> names_to_try(const std::string& name, const std::vector<std::string>& search, int ndots) {
  std::vector<std::string> names;
  if (!name.ends_with('.'))
    for (const std::string& suffix : search) names.push_back(cat(name, ".", suffix));
  names.insert(std::ranges::count(name, '.') < ndots ? names.end() : names.begin(), name);
  return names;
}

struct Resolver::Impl {
  async::Time& time;
  Rng& rng;
  ResolverOptions options;

  async::Task<Result<Response>> ask(std::string question);
  async::Task<Result<std::vector<IpAddress>>> lookup(std::string name);
};

async::Task<Result<Response>> Resolver::Impl::ask(std::string question) {
  Error last(Code::kUnavailable, "no dns server is configured");
  for (int i = 0; i < options.tries; ++i) {
    for (const IpAddress& ip : options.servers) {
      Upstream server{.ip = ip, .port = options.port, .timeout = options.try_timeout};
      Result<Answer> answer = co_await ask_udp(time, rng, server, question);
      if (answer && answer->response.truncated) answer = co_await ask_tcp(time, rng, server, question);
      if (answer && (answer->response.rcode == kNoError || answer->response.rcode == kNameError)) co_return std::move(answer->response);
      if (!answer && answer.error().code() == Code::kCancelled) co_return fail(std::move(answer).error());
      last = answer ? Error(Code::kUnavailable, cat("dns server ", format_ip(ip), " failed with code ", static_cast<int>(answer->response.rcode))) : std::move(answer).error();
    }
  }
  co_return fail(std::move(last));
}

async::Task<Result<std::vector<IpAddress>>> Resolver::Impl::lookup(std::string name) {
  std::optional<std::string> wire = encode_name(name);
  if (!wire || wire->size() < 2) co_return fail(Code::kInvalidArgument, cat("not a host name: \"", name.substr(0, 64), "\""));
  std::vector<IpAddress> out;
  for (Type type : {kA, kAaaa}) {
    Result<Response> response = co_await ask(make_question(*wire, type));
    if (!response) {
      if (!out.empty()) break;
      co_return fail(std::move(response).error().with(cat("resolve ", name)));
    }
    if (response->rcode == kNameError) break;
    std::ranges::copy(addresses_of(*response, *wire), std::back_inserter(out));
  }
  if (out.empty()) co_return fail(Code::kNotFound, cat("resolve ", name, ": no such host"));
  co_return out;
}

Resolver::Resolver(async::Time& time, Rng& rng, ResolverOptions options) : impl_(std::make_unique<Impl>(Impl{time, rng, std::move(options)})) {}
Resolver::~Resolver() = default;

async::Task<Result<std::vector<IpAddress>>> Resolver::resolve(std::string name) {
  if (Result<IpAddress> literal = parse_ip(name)) co_return std::vector<IpAddress>{*literal};
  std::vector<IpAddress> known = find_in_hosts(impl_->options.hosts, name);
  if (!known.empty()) co_return known;
  if (iequals(name, "localhost") || iequals(name, "localhost.")) co_return std::vector<IpAddress>{IpAddress::v4(0x7F000001U)};
  std::vector<std::string> names = names_to_try(name, impl_->options.search, impl_->options.ndots);
  Error last(Code::kNotFound, cat("resolve ", name, ": no such host"));
  for (std::string& candidate : names) {
    Result<std::vector<IpAddress>> found = co_await impl_->lookup(std::move(candidate));
    if (found || found.error().code() != Code::kNotFound) co_return found;
  }
  co_return fail(std::move(last));
}

}  // namespace monopod::network::dns
