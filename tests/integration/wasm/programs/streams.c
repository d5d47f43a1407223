#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  char line[100] = "";
  printf("argc=%d", argc);
  for (int i = 1; i < argc; ++i) printf(" %s", argv[i]);
  printf(" GREETING=%s SECOND=%s", getenv("GREETING"), getenv("SECOND"));
  if (fgets(line, sizeof line, stdin)) printf(" read=%s", line);
  fprintf(stderr, "to stderr\n");
  return 7;
}
