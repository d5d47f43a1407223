// `monopod store`: the datastore on the command line. Each subcommand is in the file that store_commands.h names.
#include "cmd/commands.h"
#include "cmd/store/commands.h"
#include "cmd/store/migrate.h"

namespace monopod::cmd {

void add_store(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "store", "The datastore: serve it to etcd's clients, read and write keys, look after it, back it up",
                              "  monopod store serve --data-dir /var/lib/monopod-store --listen 127.0.0.1:2379\n"
                              "  monopod store put greeting hello\n"
                              "  sudo monopod store status --data-dir /var/lib/monopod\n"
                              "  sudo monopod store snapshot save --data-dir /var/lib/monopod /mnt/usb/state.db.zst\n"
                              "  sudo monopod store fsck /var/lib/monopod/state.db");
  app->require_subcommand(1);
  // The order is the order of `monopod store --help`.
  for (AddCommand add : {add_store_serve, add_store_keys, add_store_watch, add_store_txn, add_store_lease, add_store_status, add_store_maintenance, add_store_check, add_store_dump,
                         add_store_snapshot, add_store_migrate, add_store_fsck})
    add(*app, invocation);
}

}  // namespace monopod::cmd
