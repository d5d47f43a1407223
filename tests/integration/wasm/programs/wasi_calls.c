// wasi_calls CASE: what a preview 1 host owes its guests, call by call, below the granted directory "/". wasi_suite_test.py names the public suites' tests that each
// case stands for. The first thing that is otherwise is told with its line, and ends the program with 1.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

enum { ROOT = 3 };
#define NONE 0xffff  // no second errno

static void fail(int line, const char *what, long got) {
  fprintf(stderr, "line %d: %s gave %ld\n", line, what, got);
  exit(1);
}
#define GIVES(call, ...)                                              \
  do {                                                                \
    const unsigned expected[] = {__VA_ARGS__}, got = (call);           \
    int good = 0;                                                     \
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; ++i) \
      if (expected[i] == got) good = 1;                               \
    if (!good) fail(__LINE__, #call, got);                            \
  } while (0)
#define OK(call) GIVES(call, __WASI_ERRNO_SUCCESS)
#define HOLDS(what) \
  if (!(what)) fail(__LINE__, #what, 0)

#define E(name) __WASI_ERRNO_##name
#define READ __WASI_RIGHTS_FD_READ
#define WRITE __WASI_RIGHTS_FD_WRITE
#define SEEK (__WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL)
#define STAT __WASI_RIGHTS_FD_FILESTAT_GET
#define CREAT __WASI_OFLAGS_CREAT
#define DIRECTORY __WASI_OFLAGS_DIRECTORY
#define FOLLOW __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW

// With paths that hold a zero byte.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("path_open"))) uint32_t path_open_bytes(uint32_t fd, uint32_t lookup, const char *path, uint32_t bytes, uint32_t oflags,
                                                                                                           uint64_t rights, uint64_t inheriting, uint32_t flags, uint32_t *out);

static unsigned try_open(__wasi_fd_t dir, unsigned lookup, const char *path, unsigned oflags, uint64_t rights, unsigned flags) {
  __wasi_fd_t fd;
  unsigned error = __wasi_path_open(dir, lookup, path, (__wasi_oflags_t)oflags, rights, 0, (__wasi_fdflags_t)flags, &fd);
  if (error == 0) OK(__wasi_fd_close(fd));
  return error;
}
static __wasi_fd_t open_file(int line, __wasi_fd_t dir, const char *path, unsigned oflags, uint64_t rights, unsigned flags) {
  __wasi_fd_t fd;
  unsigned error = __wasi_path_open(dir, 0, path, (__wasi_oflags_t)oflags, rights, ~0ull, (__wasi_fdflags_t)flags, &fd);
  if (error != 0) fail(line, path, error);
  if (fd <= 2) fail(line, "a low descriptor", fd);
  return fd;
}
#define OPEN(dir, path, oflags, rights) open_file(__LINE__, dir, path, oflags, rights, 0)
static __wasi_fd_t make_dir(int line, const char *name) {
  if (__wasi_path_create_directory(ROOT, name) != 0) fail(line, name, 0);
  __wasi_fdstat_t root;
  OK(__wasi_fd_fdstat_get(ROOT, &root));
  return open_file(line, ROOT, name, DIRECTORY, root.fs_rights_base, 0);
}
#define MAKE_DIR() make_dir(__LINE__, "dir")
static void touch(__wasi_fd_t dir, const char *path) { OK(try_open(dir, 0, path, CREAT, 0, 0)); }

static unsigned read_at(__wasi_fd_t fd, void *data, size_t size, size_t *n) {
  __wasi_iovec_t v = {data, size};
  return __wasi_fd_read(fd, &v, 1, n);
}
static unsigned write_at(__wasi_fd_t fd, const void *data, size_t size, size_t *n) {
  __wasi_ciovec_t v = {data, size};
  return __wasi_fd_write(fd, &v, 1, n);
}
static uint64_t size_of(__wasi_fd_t fd) {
  __wasi_filestat_t st;
  OK(__wasi_fd_filestat_get(fd, &st));
  return st.size;
}
static __wasi_filestat_t stat_path(__wasi_fd_t dir, unsigned lookup, const char *path) {
  __wasi_filestat_t st;
  OK(__wasi_path_filestat_get(dir, lookup, path, &st));
  return st;
}
static __wasi_filesize_t at;  // where positions go
static size_t n;              // and counts

// ---- descriptors

static void removed_things_may_be_made_again(void) {
  touch(ROOT, "f");
  __wasi_fd_t fd = OPEN(ROOT, "f", 0, 0);
  OK(__wasi_path_unlink_file(ROOT, "f"));
  touch(ROOT, "f");
  OK(__wasi_fd_close(fd));
  OK(__wasi_path_unlink_file(ROOT, "f"));
  fd = MAKE_DIR();
  OK(__wasi_path_remove_directory(ROOT, "dir"));
  OK(__wasi_path_create_directory(ROOT, "dir"));
  OK(__wasi_fd_close(fd));
  OK(__wasi_path_remove_directory(ROOT, "dir"));
}

static void grants_may_be_closed_and_replaced(void) {
  __wasi_fd_t dir = MAKE_DIR();
  __wasi_filestat_t before, after;
  __wasi_fdstat_t st;
  OK(__wasi_fd_filestat_get(dir, &before));
  OK(__wasi_fd_renumber(dir, ROOT));
  OK(__wasi_fd_filestat_get(ROOT, &after));
  HOLDS(before.ino == after.ino && before.dev == after.dev);
  GIVES(__wasi_fd_fdstat_get(dir, &st), E(BADF));
  OK(__wasi_fd_close(ROOT));
  GIVES(__wasi_fd_fdstat_get(ROOT, &st), E(BADF));
}

static void descriptors_are_renumbered(void) {
  __wasi_fd_t a = OPEN(ROOT, "a", CREAT, READ | WRITE), b = OPEN(ROOT, "b", CREAT, READ);
  __wasi_fdstat_t was, is;
  OK(__wasi_fd_fdstat_get(a, &was));
  OK(__wasi_fd_renumber(a, b));
  GIVES(__wasi_fd_close(a), E(BADF));
  OK(__wasi_fd_fdstat_get(b, &is));
  HOLDS(was.fs_filetype == is.fs_filetype && was.fs_flags == is.fs_flags && was.fs_rights_base == is.fs_rights_base && was.fs_rights_inheriting == is.fs_rights_inheriting);
  GIVES(__wasi_fd_renumber(b, a), E(BADF));
  OK(__wasi_fd_renumber(b, b));
  OK(__wasi_fd_close(b));
}

static void standard_streams_may_be_moved(void) {
  for (__wasi_fd_t from = 0; from <= 1; ++from) {
    __wasi_fd_t to;
    __wasi_fdstat_t st;
    OK(__wasi_path_open(ROOT, 0, "f", CREAT, 0, 0, 0, &to));
    OK(__wasi_fd_renumber(from, to));
    OK(__wasi_fd_fdstat_get(to, &st));
    GIVES(__wasi_fd_fdstat_get(from, &st), E(BADF));
  }
}

static void standard_streams_tell_nothing_of_the_host(void) {
  for (__wasi_fd_t fd = 0; fd <= 2; ++fd) {
    __wasi_filestat_t st;
    OK(__wasi_fd_filestat_get(fd, &st));
    HOLDS(st.size == 0 && st.atim == 0 && st.mtim == 0 && st.ctim == 0);
    HOLDS(!isatty((int)fd));
  }
}

static void terminals_are_terminals(void) {
  for (int fd = 0; fd <= 2; ++fd) HOLDS(isatty(fd));
}

static void directories_are_no_files(void) {
  char data[8];
  __wasi_fd_t dir = OPEN(ROOT, ".", DIRECTORY, SEEK);
  __wasi_fdstat_t st;
  __wasi_iovec_t in = {(void *)data, sizeof data};
  __wasi_ciovec_t out = {(void *)data, sizeof data};
  OK(__wasi_fd_fdstat_get(dir, &st));
  HOLDS(st.fs_filetype == __WASI_FILETYPE_DIRECTORY && (st.fs_rights_base & __WASI_RIGHTS_FD_SEEK) == 0);
  for (__wasi_fd_t fd = ROOT;; fd = dir) {
    GIVES(read_at(fd, data, sizeof data, &n), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(write_at(fd, data, sizeof data, &n), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(__wasi_fd_pread(fd, &in, 1, 0, &n), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(__wasi_fd_pwrite(fd, &out, 1, 0, &n), E(ISDIR), E(BADF), E(NOTCAPABLE));
    for (unsigned whence = 0; whence < 3; ++whence) GIVES(__wasi_fd_seek(fd, 0, (__wasi_whence_t)whence, &at), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(__wasi_fd_tell(fd, &at), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(__wasi_fd_allocate(fd, 0, 1), E(ISDIR), E(BADF), E(NOTCAPABLE));
    GIVES(__wasi_fd_filestat_set_size(fd, 0), E(ISDIR), E(INVAL), E(BADF), E(NOTCAPABLE));
    if (fd == dir) break;
  }
  char name[8];
  GIVES(__wasi_fd_prestat_dir_name(ROOT, (uint8_t *)name, 0), E(INVAL), E(NAMETOOLONG));
  OK(__wasi_fd_prestat_dir_name(ROOT, (uint8_t *)name, sizeof name));
  HOLDS(name[0] == '/');
  __wasi_prestat_t grant;
  GIVES(__wasi_fd_prestat_get(dir, &grant), E(BADF));
  GIVES(__wasi_fd_prestat_get(ROOT + 1000, &grant), E(BADF));
}

static void a_file_is_no_directory(void) {
  __wasi_fd_t fd = OPEN(ROOT, "f", CREAT, READ);
  GIVES(try_open(fd, 0, "g", CREAT, 0, 0), E(NOTDIR), E(NOTCAPABLE));
  HOLDS(!isatty((int)fd));
  char data[64];
  GIVES(__wasi_fd_readdir(fd, (uint8_t *)data, sizeof data, 0, &n), E(NOTDIR), E(BADF), E(NOTCAPABLE));
  GIVES(__wasi_sock_shutdown(fd, __WASI_SDFLAGS_WR), E(NOTSOCK));
  GIVES(__wasi_sock_shutdown(ROOT, __WASI_SDFLAGS_WR), E(NOTSOCK), E(BADF));
  GIVES(__wasi_sock_shutdown(1000, __WASI_SDFLAGS_WR), E(BADF));
  GIVES(__wasi_path_create_directory(fd, "x"), E(NOTDIR), E(NOTCAPABLE));
}

// ---- rights

static void rights_can_be_given_up_and_not_taken_back(void) {
  __wasi_fd_t fd = OPEN(ROOT, "f", CREAT, READ | WRITE | SEEK);
  char data[4] = {0, 1, 2, 3}, back[4];
  OK(write_at(fd, data, 4, &n));
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  OK(read_at(fd, back, 4, &n));
  HOLDS(n == 4 && memcmp(data, back, 4) == 0);
  __wasi_fdstat_t st;
  OK(__wasi_fd_fdstat_get(fd, &st));
  OK(__wasi_fd_fdstat_set_rights(fd, st.fs_rights_base & ~(READ | WRITE), st.fs_rights_inheriting));
  OK(__wasi_fd_fdstat_get(fd, &st));
  HOLDS((st.fs_rights_base & (READ | WRITE)) == 0 && (st.fs_rights_base & SEEK) == SEEK);
  GIVES(read_at(fd, back, 4, &n), E(BADF), E(NOTCAPABLE));
  GIVES(write_at(fd, data, 4, &n), E(BADF), E(NOTCAPABLE));
  GIVES(__wasi_fd_fdstat_set_rights(fd, st.fs_rights_base | READ, st.fs_rights_inheriting), E(NOTCAPABLE));
}

static void the_grant_has_the_rights_that_libraries_expect(void) {
  __wasi_fdstat_t st;
  OK(__wasi_fd_fdstat_get(ROOT, &st));
  const uint64_t base = 0x3fffull << 9 & ~(uint64_t)__WASI_RIGHTS_PATH_FILESTAT_SET_SIZE & ~(uint64_t)(1 << 22);  // path_create_directory … fd_filestat_set_times
  const uint64_t below = base | __WASI_RIGHTS_FD_DATASYNC | READ | WRITE | SEEK | __WASI_RIGHTS_FD_FDSTAT_SET_FLAGS | __WASI_RIGHTS_FD_SYNC | __WASI_RIGHTS_FD_ADVISE |
                         __WASI_RIGHTS_FD_ALLOCATE | STAT | __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | __WASI_RIGHTS_FD_FILESTAT_SET_TIMES | __WASI_RIGHTS_POLL_FD_READWRITE;
  HOLDS((st.fs_rights_base & (base >> 9 << 9) & 0x7ffe00) == ((base & 0x7ffe00)));
  HOLDS((st.fs_rights_inheriting & below) == below);
  __wasi_fd_t fd;
  OK(__wasi_path_open(ROOT, 0, ".", 0, st.fs_rights_base, st.fs_rights_inheriting, 0, &fd));
  OK(try_open(ROOT, 0, ".", 0, 0, 0));
  OK(try_open(ROOT, 0, ".", 0, 0, __WASI_FDFLAGS_NONBLOCK));
  OK(try_open(ROOT, 0, ".", DIRECTORY, 0, 0));
  OK(try_open(ROOT, 0, ".", DIRECTORY, READ, 0));
  GIVES(try_open(ROOT, 0, ".", DIRECTORY, READ | WRITE, 0), E(ISDIR));
}

static void truncation_needs_its_right(void) {
  __wasi_fd_t dir = MAKE_DIR();
  touch(dir, "f");
  __wasi_fdstat_t st;
  OK(__wasi_fd_fdstat_get(dir, &st));
  HOLDS(st.fs_flags == 0 && (st.fs_rights_base & __WASI_RIGHTS_FD_FILESTAT_SET_SIZE) == 0 && (st.fs_rights_base & __WASI_RIGHTS_PATH_FILESTAT_SET_SIZE) != 0);
  OK(try_open(dir, 0, "f", __WASI_OFLAGS_TRUNC, 0, 0));
  OK(__wasi_fd_fdstat_set_rights(dir, st.fs_rights_base, st.fs_rights_inheriting & ~(uint64_t)__WASI_RIGHTS_FD_FILESTAT_SET_SIZE));
  OK(try_open(dir, 0, "f", __WASI_OFLAGS_TRUNC, 0, 0));
  OK(__wasi_fd_fdstat_set_rights(dir, st.fs_rights_base & ~(uint64_t)__WASI_RIGHTS_PATH_FILESTAT_SET_SIZE, 0));
  GIVES(try_open(dir, 0, "f", __WASI_OFLAGS_TRUNC, 0, 0), E(PERM), E(NOTCAPABLE));
}

static void files_are_opened_for_what_was_asked(void) {
  char data[100] = {1};
  touch(ROOT, "f");
  __wasi_fdstat_t st;
  __wasi_fd_t fd = OPEN(ROOT, "f", 0, READ);
  OK(__wasi_fd_fdstat_get(fd, &st));
  HOLDS((st.fs_rights_base & (READ | WRITE)) == READ);
  OK(read_at(fd, data, sizeof data, &n));
  HOLDS(n == 0);
  GIVES(write_at(fd, data, 50, &n), E(BADF), E(NOTCAPABLE), E(ACCES));
  fd = OPEN(ROOT, "f", 0, WRITE);
  OK(__wasi_fd_fdstat_get(fd, &st));
  HOLDS((st.fs_rights_base & (READ | WRITE)) == WRITE);
  GIVES(read_at(fd, data, sizeof data, &n), E(BADF), E(NOTCAPABLE), E(ACCES));
  OK(write_at(fd, data, 50, &n));
  fd = OPEN(ROOT, "f", 0, READ | WRITE | STAT);
  OK(read_at(fd, data, sizeof data, &n));
  HOLDS(n == 50);
  OK(write_at(fd, data, 25, &n));
  HOLDS(size_of(fd) == 75);
  GIVES(try_open(ROOT, 0, "missing", 0, 0, 0), E(NOENT));
  GIVES(try_open(ROOT, 0, "f", CREAT | __WASI_OFLAGS_EXCL, 0, 0), E(EXIST));
  for (int i = 0; i < 2000; ++i) OK(try_open(ROOT, 0, "f", 0, READ, 0));
}

// ---- content

static void positions_move_as_posix_has_it(void) {
  char data[100] = {0};
  __wasi_fd_t fd = OPEN(ROOT, "f", CREAT, READ | WRITE | SEEK);
  OK(__wasi_fd_tell(fd, &at));
  HOLDS(at == 0);
  OK(write_at(fd, data, 100, &n));
  OK(__wasi_fd_tell(fd, &at));
  HOLDS(at == 100);
  OK(__wasi_fd_seek(fd, -50, __WASI_WHENCE_CUR, &at));
  HOLDS(at == 50);
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  HOLDS(at == 0);
  OK(__wasi_fd_seek(fd, 1000, __WASI_WHENCE_CUR, &at));
  GIVES(__wasi_fd_seek(fd, -2000, __WASI_WHENCE_CUR, &at), E(INVAL));
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  OK(read_at(fd, data, 100, &n));
  OK(__wasi_fd_tell(fd, &at));
  HOLDS(n == 100 && at == 100);
}

static void reading_and_writing_at_an_offset_leaves_the_position(void) {
  char data[4] = {0, 1, 2, 3}, back[4] = {0};
  __wasi_fd_t fd = OPEN(ROOT, "f", CREAT, READ | WRITE | SEEK);
  __wasi_ciovec_t out[2] = {{(void *)data, 2}, {(void *)(data + 2), 2}};
  __wasi_iovec_t in[2] = {{(void *)back, 2}, {(void *)(back + 2), 2}};
  OK(__wasi_fd_pwrite(fd, out, 2, 0, &n));
  HOLDS(n == 4);
  OK(__wasi_fd_pread(fd, in, 2, 0, &n));
  HOLDS(n == 4 && memcmp(data, back, 4) == 0);
  memset(back, 0, 4);
  OK(__wasi_fd_pread(fd, in, 2, 2, &n));
  HOLDS(n == 2 && back[0] == 2 && back[1] == 3 && back[2] == 0);
  OK(__wasi_fd_pread(fd, in, 2, 4, &n));
  HOLDS(n == 0);
  OK(__wasi_fd_tell(fd, &at));
  HOLDS(at == 0);
  GIVES(__wasi_fd_pread(fd, in, 2, ~0ull, &n), E(INVAL));
}

static void what_one_descriptor_writes_another_reads(void) {
  __wasi_fd_t in = OPEN(ROOT, "f", CREAT, READ), out = OPEN(ROOT, "f", 0, WRITE);
  char data = 1;
  OK(write_at(out, &data, 1, &n));
  data = 0;
  OK(read_at(in, &data, 1, &n));
  HOLDS(n == 1 && data == 1);
  static char large[65536];
  for (size_t i = 0; i < sizeof large; ++i) large[i] = (char)(i * 7);
  OK(write_at(out, large, sizeof large, &n));
  HOLDS(n == sizeof large);
  static char back[65536];
  OK(read_at(in, back, sizeof back, &n));
  HOLDS(n == sizeof back && memcmp(large, back, n) == 0);
}

static void appending_is_a_flag_that_can_be_changed(void) {
  char zeros[100] = {0}, ones[100], back[100];
  memset(ones, 1, sizeof ones);
  __wasi_fd_t fd = open_file(__LINE__, ROOT, "f", CREAT, READ | WRITE | SEEK | __WASI_RIGHTS_FD_FDSTAT_SET_FLAGS, __WASI_FDFLAGS_APPEND);
  OK(write_at(fd, zeros, 100, &n));
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  OK(read_at(fd, back, 100, &n));
  HOLDS(n == 100 && memcmp(back, zeros, 100) == 0);
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  OK(write_at(fd, ones, 100, &n));
  OK(__wasi_fd_seek(fd, 100, __WASI_WHENCE_SET, &at));
  OK(read_at(fd, back, 100, &n));
  HOLDS(n == 100 && memcmp(back, ones, 100) == 0);
  OK(__wasi_fd_fdstat_set_flags(fd, 0));
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  memset(ones, 2, sizeof ones);
  OK(write_at(fd, ones, 100, &n));
  OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
  OK(read_at(fd, back, 100, &n));
  HOLDS(n == 100 && memcmp(back, ones, 100) == 0);
  HOLDS(stat_path(ROOT, 0, "f").size == 200);
}

static void sizes_and_times_are_set(void) {
  __wasi_filestat_t st, now;
  __wasi_fd_t fd = OPEN(ROOT, "f", CREAT, READ | WRITE | STAT | __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | __WASI_RIGHTS_FD_FILESTAT_SET_TIMES | __WASI_RIGHTS_FD_ALLOCATE | __WASI_RIGHTS_FD_ADVISE);
  HOLDS(size_of(fd) == 0);
  OK(__wasi_fd_filestat_set_size(fd, 100));
  HOLDS(size_of(fd) == 100);
  OK(__wasi_fd_advise(fd, 10, 50, __WASI_ADVICE_NORMAL));
  HOLDS(size_of(fd) == 100);
  OK(__wasi_fd_allocate(fd, 10, 10));
  HOLDS(size_of(fd) == 100);
  OK(__wasi_fd_allocate(fd, 90, 20));
  HOLDS(size_of(fd) == 110);
  OK(__wasi_fd_filestat_get(fd, &st));
  OK(__wasi_fd_filestat_set_times(fd, st.mtim - 100, st.mtim - 100, __WASI_FSTFLAGS_MTIM));
  OK(__wasi_fd_filestat_get(fd, &now));
  HOLDS(now.size == 110 && now.mtim == st.mtim - 100 && now.atim == st.atim);
  GIVES(__wasi_fd_filestat_set_times(fd, 100, 200, __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW), E(INVAL));
  GIVES(__wasi_fd_filestat_set_times(fd, 100, 200, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), E(INVAL));
  OK(__wasi_path_filestat_set_times(ROOT, 0, "f", 0, st.mtim - 300, __WASI_FSTFLAGS_MTIM));
  GIVES(__wasi_path_filestat_set_times(ROOT, 0, "f", 0, 5, __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW), E(INVAL));
  GIVES(__wasi_path_filestat_set_times(ROOT, 0, "f", 5, 0, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), E(INVAL));
  HOLDS(stat_path(ROOT, 0, "f").mtim == st.mtim - 300);
  OK(try_open(ROOT, 0, "f", CREAT | __WASI_OFLAGS_TRUNC, READ | WRITE, 0));
  HOLDS(size_of(fd) == 0);
  fd = open_file(__LINE__, ROOT, "g", CREAT, READ | WRITE, __WASI_FDFLAGS_APPEND | __WASI_FDFLAGS_SYNC);
  __wasi_fdstat_t flags;
  OK(__wasi_fd_fdstat_get(fd, &flags));
  HOLDS(flags.fs_flags == (__WASI_FDFLAGS_APPEND | __WASI_FDFLAGS_SYNC));
}

// ---- directories

static unsigned list(__wasi_fd_t dir, __wasi_dircookie_t *cookie, char names[][32], __wasi_dirent_t *entries, int *end) {
  static char buffer[256];
  OK(__wasi_fd_readdir(dir, (uint8_t *)buffer, sizeof buffer, *cookie, &n));
  HOLDS(n <= sizeof buffer);
  unsigned count = 0;
  for (size_t from = 0; from + sizeof(__wasi_dirent_t) <= n; ++count) {
    memcpy(&entries[count], buffer + from, sizeof entries[count]);
    from += sizeof entries[count];
    if (from + entries[count].d_namlen > n) break;
    memcpy(names[count], buffer + from, entries[count].d_namlen);
    names[count][entries[count].d_namlen] = 0;
    from += entries[count].d_namlen;
  }
  if (count != 0) *cookie = entries[count - 1].d_next;
  *end = n < sizeof buffer;
  return count;
}

static void directories_are_listed_in_pieces(void) {
  __wasi_fd_t dir = MAKE_DIR();
  char names[16][32];
  __wasi_dirent_t entries[16];
  __wasi_dircookie_t cookie = 0;
  int end, seen = 0;
  HOLDS(list(dir, &cookie, names, entries, &end) == 2 && end);
  __wasi_filestat_t st;
  OK(__wasi_fd_filestat_get(dir, &st));
  for (int i = 0; i < 2; ++i) {
    HOLDS(entries[i].d_type == __WASI_FILETYPE_DIRECTORY);
    int self = strcmp(names[i], ".") == 0;
    HOLDS(self ? entries[i].d_ino == st.ino : strcmp(names[i], "..") == 0);
    seen |= self ? 1 : 2;
  }
  HOLDS(seen == 3);
  touch(dir, "file");
  cookie = 0;
  HOLDS(list(dir, &cookie, names, entries, &end) == 3 && end);
  for (int i = 0; i < 3; ++i)
    if (strcmp(names[i], "file") == 0) HOLDS(entries[i].d_type == __WASI_FILETYPE_REGULAR_FILE && entries[i].d_ino == stat_path(dir, 0, "file").ino);
  char last[32];
  strcpy(last, names[2]);
  cookie = entries[1].d_next;
  HOLDS(list(dir, &cookie, names, entries, &end) == 1 && end && strcmp(names[0], last) == 0);
  for (int i = 0; i < 1000; ++i) {
    char name[32];
    snprintf(name, sizeof name, "file.%d", i);
    touch(dir, name);
  }
  unsigned total = 0;
  cookie = 0;
  do total += list(dir, &cookie, names, entries, &end);
  while (!end);
  HOLDS(total == 1003);
}

static void directories_are_removed_when_empty(void) {
  OK(__wasi_path_create_directory(ROOT, "d"));
  OK(__wasi_path_create_directory(ROOT, "d/nested"));
  GIVES(__wasi_path_create_directory(ROOT, "d"), E(EXIST));
  GIVES(__wasi_path_remove_directory(ROOT, "d"), E(NOTEMPTY));
  OK(__wasi_path_remove_directory(ROOT, "d/nested"));
  OK(__wasi_path_remove_directory(ROOT, "d/"));
  GIVES(__wasi_path_remove_directory(ROOT, "d"), E(NOENT));
  touch(ROOT, "f");
  GIVES(__wasi_path_remove_directory(ROOT, "f"), E(NOTDIR));
  GIVES(__wasi_path_remove_directory(ROOT, "f/"), E(NOTDIR));
  OK(__wasi_path_create_directory(ROOT, "d"));
  GIVES(__wasi_path_unlink_file(ROOT, "d"), E(ISDIR));
  GIVES(__wasi_path_unlink_file(ROOT, "d/"), E(ISDIR));
  GIVES(__wasi_path_unlink_file(ROOT, "f/"), E(NOTDIR));
  OK(__wasi_path_unlink_file(ROOT, "f"));
}

static void renaming_follows_posix(void) {
  OK(__wasi_path_create_directory(ROOT, "a"));
  OK(__wasi_path_rename(ROOT, "a", ROOT, "b"));
  GIVES(try_open(ROOT, 0, "a", DIRECTORY, 0, 0), E(NOENT));
  OK(try_open(ROOT, 0, "b", DIRECTORY, 0, 0));
  OK(__wasi_path_create_directory(ROOT, "a"));
  OK(__wasi_path_rename(ROOT, "a", ROOT, "b"));  // an empty one is replaced
  OK(__wasi_path_create_directory(ROOT, "a"));
  touch(ROOT, "b/file");
  GIVES(__wasi_path_rename(ROOT, "a", ROOT, "b"), E(NOTEMPTY));
  GIVES(__wasi_path_rename(ROOT, "a", ROOT, "b/file"), E(NOTDIR));
  OK(__wasi_path_unlink_file(ROOT, "b/file"));
  OK(__wasi_path_remove_directory(ROOT, "b"));
  OK(__wasi_path_rename(ROOT, "a/", ROOT, "b"));
  OK(__wasi_path_rename(ROOT, "b", ROOT, "a/"));
  OK(__wasi_path_rename(ROOT, "a/", ROOT, "b/"));
  touch(ROOT, "f");
  OK(__wasi_path_rename(ROOT, "f", ROOT, "g"));
  GIVES(try_open(ROOT, 0, "f", 0, 0, 0), E(NOENT));
  touch(ROOT, "f");
  OK(__wasi_path_rename(ROOT, "f", ROOT, "g"));
  touch(ROOT, "f");
  GIVES(__wasi_path_rename(ROOT, "f", ROOT, "b"), E(ISDIR));
  GIVES(__wasi_path_rename(ROOT, "missing", ROOT, "x"), E(NOENT));
}

// ---- links and paths

static void paths_are_interesting(void) {
  OK(__wasi_path_create_directory(ROOT, "dir"));
  OK(__wasi_path_create_directory(ROOT, "dir/nested"));
  touch(ROOT, "dir/nested/file");
  GIVES(try_open(ROOT, 0, "/dir/nested/file", 0, 0, 0), E(PERM), E(NOTCAPABLE));
  OK(try_open(ROOT, 0, "dir/.//nested/../../dir/nested/../nested///./file", 0, 0, 0));
  uint32_t fd;
  GIVES(path_open_bytes(ROOT, 0, "dir/nested/file\0", 16, 0, 0, 0, 0, &fd), E(INVAL), E(ILSEQ), E(NOENT));
  GIVES(try_open(ROOT, 0, "dir/nested/file/", 0, 0, 0), E(NOTDIR), E(NOENT));
  GIVES(try_open(ROOT, 0, "dir/nested/file///", 0, 0, 0), E(NOTDIR), E(NOENT));
  OK(try_open(ROOT, 0, "dir/nested/", 0, 0, 0));
  OK(try_open(ROOT, 0, "dir/nested///", 0, 0, 0));
  GIVES(try_open(ROOT, 0, "dir/nested/../../../dir/nested/file", 0, 0, 0), E(PERM), E(NOTCAPABLE));
  GIVES(try_open(ROOT, 0, "..", 0, 0, 0), E(PERM), E(NOTCAPABLE));
  GIVES(try_open(ROOT, 0, "", 0, 0, 0), E(NOENT), E(INVAL));
}

static void symlinks_are_followed_where_that_is_asked(void) {
  __wasi_fd_t dir = MAKE_DIR();
  OK(__wasi_path_create_directory(dir, "target"));
  OK(__wasi_path_symlink("target", dir, "link"));
  GIVES(try_open(dir, 0, "link", DIRECTORY, 0, 0), E(LOOP), E(NOTDIR));
  GIVES(try_open(dir, 0, "link", 0, 0, 0), E(LOOP));
  OK(try_open(dir, FOLLOW, "link", DIRECTORY, 0, 0));
  HOLDS(stat_path(dir, 0, "link").filetype == __WASI_FILETYPE_SYMBOLIC_LINK);
  HOLDS(stat_path(dir, FOLLOW, "link").filetype == __WASI_FILETYPE_DIRECTORY);
  OK(__wasi_path_remove_directory(dir, "target"));
  GIVES(try_open(dir, 0, "link", DIRECTORY, 0, 0), E(NOTDIR), E(LOOP));
  GIVES(try_open(dir, 0, "link", 0, 0, 0), E(LOOP));
  GIVES(try_open(dir, FOLLOW, "link", 0, 0, 0), E(NOENT));
  touch(dir, "target");
  GIVES(try_open(dir, 0, "link", 0, 0, 0), E(LOOP));
  GIVES(try_open(dir, FOLLOW, "link", DIRECTORY, 0, 0), E(NOTDIR));
  OK(try_open(dir, FOLLOW, "link", 0, 0, 0));
  HOLDS(stat_path(dir, FOLLOW, "link").filetype == __WASI_FILETYPE_REGULAR_FILE);
  OK(__wasi_path_unlink_file(dir, "link"));
  OK(__wasi_path_symlink("loop", dir, "loop"));
  GIVES(try_open(dir, 0, "loop", 0, 0, 0), E(LOOP));
  GIVES(try_open(dir, FOLLOW, "loop", 0, 0, 0), E(LOOP));
  HOLDS(__wasi_path_symlink("/", dir, "absolute") != 0);
  OK(__wasi_path_symlink("../..", dir, "out"));
  GIVES(try_open(dir, FOLLOW, "out", DIRECTORY, 0, 0), E(PERM), E(NOTCAPABLE), E(XDEV));
  GIVES(try_open(dir, FOLLOW, "out/etc", DIRECTORY, 0, 0), E(PERM), E(NOTCAPABLE), E(XDEV));
}

static void symlinks_have_times_and_targets_of_their_own(void) {
  touch(ROOT, "file");
  OK(__wasi_path_symlink("file", ROOT, "link"));
  __wasi_filestat_t file = stat_path(ROOT, 0, "file"), link = stat_path(ROOT, 0, "link");
  OK(__wasi_path_filestat_set_times(ROOT, 0, "link", 0, link.mtim - 200, __WASI_FSTFLAGS_MTIM));
  HOLDS(stat_path(ROOT, 0, "link").mtim == link.mtim - 200 && stat_path(ROOT, 0, "file").mtim == file.mtim);
  HOLDS(stat_path(ROOT, FOLLOW, "link").mtim == file.mtim);
  OK(__wasi_path_filestat_set_times(ROOT, FOLLOW, "link", 0, link.mtim - 500, __WASI_FSTFLAGS_MTIM));
  HOLDS(stat_path(ROOT, 0, "file").mtim == link.mtim - 500);
  char target[10] = {0};
  OK(__wasi_path_readlink(ROOT, "link", (uint8_t *)target, sizeof target, &n));
  HOLDS(n == 4 && strcmp(target, "file") == 0);
  memset(target, 0, sizeof target);
  OK(__wasi_path_readlink(ROOT, "link", (uint8_t *)target, 2, &n));
  HOLDS(n == 2 && strcmp(target, "fi") == 0);
  GIVES(__wasi_path_readlink(ROOT, "file", (uint8_t *)target, sizeof target, &n), E(INVAL));
}

static void names_with_slashes_are_directories(void) {
  GIVES(__wasi_path_symlink("source", ROOT, "target/"), E(NOENT));
  OK(__wasi_path_create_directory(ROOT, "target"));
  GIVES(__wasi_path_symlink("source", ROOT, "target/"), E(EXIST));
  GIVES(__wasi_path_symlink("source", ROOT, "target"), E(EXIST));
  OK(__wasi_path_remove_directory(ROOT, "target"));
  touch(ROOT, "target");
  GIVES(__wasi_path_symlink("source", ROOT, "target/"), E(NOTDIR), E(EXIST));
  GIVES(__wasi_path_symlink("source", ROOT, "target"), E(EXIST));
}

static void hard_links_are_the_same_file(void) {
  touch(ROOT, "file");
  OK(__wasi_path_link(ROOT, 0, "file", ROOT, "link"));
  __wasi_filestat_t a = stat_path(ROOT, 0, "file"), b = stat_path(ROOT, 0, "link");
  HOLDS(memcmp(&a, &b, sizeof a) == 0 && a.nlink == 2);
  OK(__wasi_path_unlink_file(ROOT, "link"));
  __wasi_fd_t sub = MAKE_DIR();
  OK(__wasi_path_link(ROOT, 0, "file", sub, "link"));
  __wasi_fd_t one = OPEN(ROOT, "file", 0, READ), two = OPEN(sub, "link", 0, READ);
  __wasi_fdstat_t x, y;
  OK(__wasi_fd_fdstat_get(one, &x));
  OK(__wasi_fd_fdstat_get(two, &y));
  HOLDS(x.fs_flags == y.fs_flags && x.fs_filetype == y.fs_filetype && x.fs_rights_base == y.fs_rights_base && x.fs_rights_inheriting == y.fs_rights_inheriting);
  touch(ROOT, "link");
  GIVES(__wasi_path_link(ROOT, 0, "file", ROOT, "link"), E(EXIST));
  GIVES(__wasi_path_link(ROOT, 0, "file", ROOT, "file"), E(EXIST));
  GIVES(__wasi_path_link(ROOT, 0, "file", ROOT, "dir"), E(EXIST));
  GIVES(__wasi_path_link(ROOT, 0, "dir", ROOT, "new"), E(PERM), E(ACCES));
  GIVES(__wasi_path_link(ROOT, 0, "file", ROOT, "new/"), E(NOENT));
  OK(__wasi_path_symlink("nowhere", ROOT, "symlink"));
  OK(__wasi_path_link(ROOT, 0, "symlink", ROOT, "new"));
  GIVES(__wasi_path_link(ROOT, 0, "file", ROOT, "symlink"), E(EXIST));
  GIVES(__wasi_path_link(ROOT, FOLLOW, "symlink", ROOT, "newer"), E(INVAL), E(NOENT));
  OK(__wasi_path_symlink("loop", ROOT, "loop"));
  OK(__wasi_path_link(ROOT, 0, "loop", ROOT, "looped"));
}

// ---- time, chance, waiting

static void clocks_run_and_randomness_is_random(void) {
  __wasi_timestamp_t before, now;
  for (uint32_t id = 0; id < 4; ++id) {
    OK(__wasi_clock_res_get(id, &before));
    HOLDS(before != 0);
    OK(__wasi_clock_time_get(id, 1, &before));
    OK(__wasi_clock_time_get(id, 0, &now));
    HOLDS(now >= before);
  }
  GIVES(__wasi_clock_time_get(99, 0, &now), E(INVAL), E(NOTSUP));
  static uint8_t large[65536 * 4];
  OK(__wasi_random_get(large, 0));
  OK(__wasi_random_get(large, sizeof large));
  int counts = 0;
  for (size_t i = 0; i < sizeof large; ++i) counts += large[i] == 0;
  HOLDS(counts > 500 && counts < 2000);
  OK(__wasi_sched_yield());
}

static unsigned poll_files(__wasi_fd_t in, __wasi_fd_t out, __wasi_event_t *events) {
  __wasi_subscription_t subs[2] = {{.userdata = 1, .u = {.tag = __WASI_EVENTTYPE_FD_READ}}, {.userdata = 2, .u = {.tag = __WASI_EVENTTYPE_FD_WRITE}}};
  subs[0].u.u.fd_read.file_descriptor = in;
  subs[1].u.u.fd_write.file_descriptor = out;
  return __wasi_poll_oneoff(subs, events, 2, &n);
}

static void waits_end_for_time_and_files(void) {
  __wasi_subscription_t clock = {.userdata = 7, .u = {.tag = __WASI_EVENTTYPE_CLOCK}};
  __wasi_event_t events[2];
  __wasi_timestamp_t before, after;
  clock.u.u.clock.timeout = 5000000;
  for (uint32_t id = 0; id < 2; ++id) {
    clock.u.u.clock.id = id;
    OK(__wasi_clock_time_get(1, 0, &before));
    OK(__wasi_poll_oneoff(&clock, events, 1, &n));
    OK(__wasi_clock_time_get(1, 0, &after));
    HOLDS(n == 1 && events[0].userdata == 7 && events[0].error == 0 && events[0].type == __WASI_EVENTTYPE_CLOCK && after - before >= 5000000);
  }
  GIVES(__wasi_poll_oneoff(&clock, events, 0, &n), E(INVAL));
  touch(ROOT, "in");
  __wasi_fd_t in = OPEN(ROOT, "in", 0, READ), out = OPEN(ROOT, "out", CREAT, WRITE);
  OK(poll_files(in, out, events));
  HOLDS(n == 2 && events[0].userdata == 1 && events[0].error == 0 && events[0].type == __WASI_EVENTTYPE_FD_READ);
  HOLDS(events[1].userdata == 2 && events[1].error == 0 && events[1].type == __WASI_EVENTTYPE_FD_WRITE);
  OK(poll_files(in, 1000, events));
  HOLDS(n == 2 && events[1].error == E(BADF));
  GIVES(poll_files(~0u, ~0u, events), E(BADF));  // nothing else to wait for
  OK(poll_files(0, 1, events));
  HOLDS(n >= 1);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name}
    CASE(removed_things_may_be_made_again), CASE(grants_may_be_closed_and_replaced), CASE(descriptors_are_renumbered), CASE(standard_streams_may_be_moved),
    CASE(standard_streams_tell_nothing_of_the_host), CASE(terminals_are_terminals), CASE(directories_are_no_files), CASE(a_file_is_no_directory), CASE(rights_can_be_given_up_and_not_taken_back),
    CASE(the_grant_has_the_rights_that_libraries_expect), CASE(truncation_needs_its_right), CASE(files_are_opened_for_what_was_asked), CASE(positions_move_as_posix_has_it),
    CASE(reading_and_writing_at_an_offset_leaves_the_position), CASE(what_one_descriptor_writes_another_reads), CASE(appending_is_a_flag_that_can_be_changed), CASE(sizes_and_times_are_set),
    CASE(directories_are_listed_in_pieces), CASE(directories_are_removed_when_empty), CASE(renaming_follows_posix), CASE(paths_are_interesting), CASE(symlinks_are_followed_where_that_is_asked),
    CASE(symlinks_have_times_and_targets_of_their_own), CASE(names_with_slashes_are_directories), CASE(hard_links_are_the_same_file), CASE(clocks_run_and_randomness_is_random),
    CASE(waits_end_for_time_and_files),
};

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    if (argc < 2) puts(cases[i].name);
    else if (strcmp(argv[1], cases[i].name) == 0) return cases[i].run(), 0;
  }
  return argc < 2 ? 0 : 2;
}
