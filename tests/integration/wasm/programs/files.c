#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void need(int good, const char *what) {
  if (good) return;
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

int main(int argc, char **argv) {
  char path[200], other[200], text[100];
  if (argc != 2) return 2;
  snprintf(path, sizeof path, "%s/dir", argv[1]);
  need(mkdir(path, 0755) == 0, "mkdir");
  snprintf(path, sizeof path, "%s/dir/file", argv[1]);
  FILE *f = fopen(path, "w");
  need(f != NULL, "create");
  fputs("some content", f);
  need(fclose(f) == 0, "close");
  printf("made dir/file\n");
  f = fopen(path, "r");
  need(f != NULL, "open");
  printf("read back %zu bytes\n", fread(text, 1, sizeof text, f));
  fclose(f);
  struct stat st;
  need(stat(path, &st) == 0 && st.st_size == 12, "stat");
  snprintf(other, sizeof other, "%s/dir", argv[1]);
  DIR *d = opendir(other);
  need(d != NULL, "opendir");
  int n = 0;
  while (readdir(d)) ++n;
  closedir(d);
  printf("listed %d entries\n", n);
  snprintf(other, sizeof other, "%s/moved", argv[1]);
  need(rename(path, other) == 0, "rename");
  printf("renamed\n");
  snprintf(path, sizeof path, "%s/link", argv[1]);
  if (open(path, O_RDONLY) < 0) printf("link refused\n");
  snprintf(path, sizeof path, "%s/../secret", argv[1]);
  if (open(path, O_RDONLY) < 0) printf("parent refused\n");
  if (open("/etc/passwd", O_RDONLY) < 0) printf("absolute refused\n");
  need(unlink(other) == 0, "unlink");
  snprintf(path, sizeof path, "%s/dir", argv[1]);
  need(rmdir(path) == 0, "rmdir");
  printf("removed\n");
  return 0;
}
