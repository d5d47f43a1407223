// The subcommands of `monopod store`: each cmd/store_<name>.cc adds itself; the list is in store.cc.
#pragma once

#include "cmd/command.h"

namespace monopod::cmd {

void add_store_serve(CLI::App& store, Invocation& invocation);        // store_serve.cc
void add_store_keys(CLI::App& store, Invocation& invocation);         // get, put, del: store_keys.cc
void add_store_watch(CLI::App& store, Invocation& invocation);        // store_watch.cc
void add_store_txn(CLI::App& store, Invocation& invocation);          // store_txn.cc
void add_store_lease(CLI::App& store, Invocation& invocation);        // store_lease.cc
void add_store_status(CLI::App& store, Invocation& invocation);       // store_status.cc
void add_store_maintenance(CLI::App& store, Invocation& invocation);  // compact, defrag: store_maintenance.cc
void add_store_check(CLI::App& store, Invocation& invocation);        // check perf: store_check.cc
void add_store_dump(CLI::App& store, Invocation& invocation);         // store_dump.cc
void add_store_snapshot(CLI::App& store, Invocation& invocation);     // save, restore, status: store_snapshot.cc
void add_store_fsck(CLI::App& store, Invocation& invocation);         // store_fsck.cc

}  // namespace monopod::cmd
