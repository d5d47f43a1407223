#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int sink;
__attribute__((noinline)) static int recurse(int n) {
  sink = n;
  return recurse(n + 1) + sink;
}
__attribute__((noinline)) static void inner(void) {
  sink = 1;
  __builtin_trap();
}
__attribute__((noinline)) static void outer(void) {
  inner();
  sink = 2;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  if (strcmp(argv[1], "spin") == 0)
    for (;;) ++sink;
  if (strcmp(argv[1], "sleep") == 0) sleep(1000);
  if (strcmp(argv[1], "recurse") == 0) return recurse(0);
  if (strcmp(argv[1], "trap") == 0) outer();
  if (strcmp(argv[1], "memory") == 0) {
    for (int i = 0; i < 1000; ++i) {
      char *more = malloc(100000);
      if (more == NULL) {
        fprintf(stderr, "out of memory as it should be\n");
        return 3;
      }
      memset(more, i, 100000);
      sink += more[i * 7];
    }
  }
  return 0;
}
