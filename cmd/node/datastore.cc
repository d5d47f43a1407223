#include "cmd/node/datastore.h"

#include "base/strings.h"
#include "cmd/host.h"

namespace monopod::cmd {

Result<etcd::ClientOptions> read_datastore_options(const DatastoreOptions& options, http::Resolver* resolver) {
  etcd::ClientOptions out{.endpoints = options.endpoints, .user = options.user, .resolver = resolver};
  for (auto [path, into] : {std::pair{&options.ca_file, &out.ca_pem}, {&options.cert_file, &out.certificate_pem}, {&options.key_file, &out.key_pem}, {&options.password_file, &out.password}})
    if (!path->empty()) {
      TRY_ASSIGN(*into, read_file(*path));
    }
  out.password = std::string(trim(out.password));
  if (out.user.empty() != out.password.empty()) return fail(Code::kInvalidArgument, "datastore: a user and its password belong together");
  return out;
}

}  // namespace monopod::cmd
