#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

// The listener is the first descriptor behind the standard ones.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("sock_accept"))) int sock_accept(int fd, int flags, int *out);

int main(void) {
  int client = -1, error = sock_accept(3, 0, &client);
  if (error != 0) return 1;
  char data[64];
  ssize_t n;
  while ((n = recv(client, data, sizeof data, 0)) > 0)
    if (send(client, data, (size_t)n, 0) != n) return 2;
  shutdown(client, SHUT_WR);
  close(client);
  return n == 0 ? 0 : 3;
}
