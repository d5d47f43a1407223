// The options of an external datastore as those of its client.
#pragma once

#include "cmd/node/server_options.h"
#include "etcd/cluster/cluster_backend.h"

namespace monopod::cmd {

// Reads the files. resolver outlives the client.
Result<etcd::ClientOptions> read_datastore_options(const DatastoreOptions& options, http::Resolver* resolver);

}  // namespace monopod::cmd
