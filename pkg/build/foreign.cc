#include "build/foreign.h"

#include <elf.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/strings.h"
#include "sys/fd.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

struct Machine {
  std::string_view architecture;  // Go's name
  std::string_view qemu;          // of its user-mode emulator
  std::uint16_t elf;              // e_machine
  bool wide = true;               // 64 bits
  bool big_endian = false;
};

constexpr Machine kMachines[] = {
    {"amd64", "x86_64", EM_X86_64},    {"386", "i386", EM_386, false},        {"arm64", "aarch64", EM_AARCH64},           {"arm", "arm", EM_ARM, false},       {"riscv64", "riscv64", EM_RISCV},
    {"ppc64le", "ppc64le", EM_PPC64}, {"s390x", "s390x", EM_S390, true, true}, {"mips64le", "mips64el", EM_MIPS}, {"loong64", "loongarch64", 258},
};

constexpr int kTriesMax = 200;  // a millisecond each

// Of a 64-bit processor that runs its 32-bit programs, or may.
bool is_native(const std::string& architecture) {
  const std::string host = image::host_platform().architecture;
  return architecture == host || (host == "amd64" && architecture == "386") || (host == "arm64" && architecture == "arm");
}

// As much of a header as kernels and registrations of interpreters look at, of a program that has no segments: nothing of it is ever run.
std::array<unsigned char, 64> make_header(const Machine& machine) {
  std::array<unsigned char, 64> out{};
  std::memcpy(out.data(), ELFMAG, SELFMAG);
  out[EI_CLASS] = machine.wide ? ELFCLASS64 : ELFCLASS32;
  out[EI_DATA] = machine.big_endian ? ELFDATA2MSB : ELFDATA2LSB;
  out[EI_VERSION] = EV_CURRENT;
  const std::size_t low = machine.big_endian ? 1 : 0, high = 1 - low;
  out[16 + low] = ET_EXEC;
  out[18 + low] = static_cast<unsigned char>(machine.elf & 0xff);
  out[18 + high] = static_cast<unsigned char>(machine.elf >> 8);
  out[20 + (machine.big_endian ? 3 : 0)] = EV_CURRENT;
  return out;
}

// What the kernel says to its execution, 0 where an interpreter began. What that makes of it is its own affair.
int execute(const std::string& path) {
  ::posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (int fd : {0, 1, 2}) ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  std::string program = path;
  char* argv[] = {program.data(), nullptr};
  char* env[] = {nullptr};
  pid_t child = -1;
  const int error = ::posix_spawn(&child, path.c_str(), &actions, nullptr, argv, env);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == 0)
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return error;
}

}  // namespace

Result<> check_runs_here(const image::Platform& platform, const std::string& path) {
  if (is_native(platform.architecture)) return {};
  const Machine* machine = nullptr;
  for (const Machine& known : kMachines)
    if (known.architecture == platform.architecture) machine = &known;
  if (machine == nullptr) return {};
  {
    sys::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
    if (!file) return fail_errno(cat("create ", path));
    const auto header = make_header(*machine);
    TRY(sys::write_all(file.get(), std::string_view(reinterpret_cast<const char*>(header.data()), header.size())));
  }
  int error = execute(path);
  // A process that another thread starts right now has the file open for writing until it executes.
  for (int tries = 0; error == ETXTBSY && tries < kTriesMax; ++tries) {
    ::usleep(1000);
    error = execute(path);
  }
  (void)::unlink(path.c_str());
  if (error == 0) return {};
  if (error != ENOEXEC && error != ENOENT) {
    errno = error;
    return fail_errno(cat("try a program for ", image::format_platform(platform)));
  }
  return fail(Code::kFailedPrecondition,
              cat("programs for ", image::format_platform(platform), " do not run here: binfmt_misc has ", error == ENOENT ? "an interpreter for them that is not there" : "no interpreter for them",
                  "; install qemu-user-static (Debian), or register qemu-", machine->qemu, "-static with flag F: docs.kernel.org/admin-guide/binfmt-misc.html"));
}

}  // namespace monopod::build
