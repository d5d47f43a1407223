#include "image/sources.h"

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::image {
namespace {

Result<Source> make_source(const RegistryHost& host, const RegistryOptions& base) {
  Source out{.tls = nullptr, .options = base};
  out.options.base_url = host.url;
  out.options.plain_http = host.url.starts_with("http://");
  if (!host.skip_verify && host.ca_files.empty()) return out;
  http::TlsClientOptions tls{.insecure_skip_verify = host.skip_verify};
  for (const std::string& path : host.ca_files) {
    TRY_ASSIGN(std::string pem, sys::read_host_file(path));
    tls.ca_pem += cat(pem, "\n");
  }
  TRY_ASSIGN(out.tls, http::TlsClient::make(tls));
  out.options.tls = out.tls.get();
  return out;
}

}  // namespace

Result<std::vector<Source>> find_sources(const std::string& config_dir, const Reference& reference, const RegistryOptions& base, bool push) {
  RegistryHosts hosts;
  if (!config_dir.empty()) {
    TRY_ASSIGN(hosts, read_hosts(config_dir, reference.domain));
  }
  std::vector<Source> out;
  RegistryOptions anonymous = base;
  anonymous.auth = {};
  for (const RegistryHost& host : hosts.hosts) {
    if (!(push ? host.push : host.pull)) continue;
    // The registry under another set of options, not a mirror of it.
    bool own = host.url.substr(host.url.find("://") + 3) == reference.domain;
    TRY_ASSIGN(Source source, make_source(host, own ? base : anonymous));
    out.push_back(std::move(source));
  }
  TRY_ASSIGN(Source server, make_source(hosts.server, base));
  out.push_back(std::move(server));
  return out;
}

}  // namespace monopod::image
