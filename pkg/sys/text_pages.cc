#include "sys/text_pages.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace monopod::sys {
namespace {

// Only what was never written: relocated data is this process's own and would come back as the file has it.
int forget(dl_phdr_info* object, std::size_t, void* covered) {
  if (object->dlpi_name != nullptr && object->dlpi_name[0] != '\0') return 0;  // the kernel's own (vdso)
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const std::size_t begin = (object->dlpi_addr + segment.p_vaddr + page - 1) / page * page, end = (object->dlpi_addr + segment.p_vaddr + segment.p_filesz) / page * page;
    if (begin >= end || ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED) != 0) continue;
    *static_cast<std::size_t*>(covered) += end - begin;
  }
  return 0;
}

}  // namespace

std::size_t forget_program_pages() {
  std::size_t covered = 0;
  dl_iterate_phdr(forget, &covered);
  return covered;
}

}  // namespace monopod::sys
