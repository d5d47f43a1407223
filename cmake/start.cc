// What runs before and instead of what the libraries do at every start of the executable: most commands are short.
//
// monopod_start is the entry of the executable. Relocation writes to each of the 170 pages of .data.rel.ro and .data, a page fault each: they are
// asked for at once instead (Linux 5.14; before it, and where pages are larger than 4 KiB, the kernel refuses and the faults are taken).
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)
#define MADV_POPULATE_WRITE_NUMBER 23

#if defined(__x86_64__)
asm(".section .text.monopod_start,\"ax\",@progbits\n"
    ".globl monopod_start\n"
    ".type monopod_start,@function\n"
    "monopod_start:\n"
    "  mov %rdx, %r8\n"  // what the kernel passes to _start
    "  lea __init_array_start(%rip), %rdi\n"
    "  and $-4096, %rdi\n"
    "  lea _edata(%rip), %rsi\n"
    "  sub %rdi, %rsi\n"
    "  mov $" NUMBER(MADV_POPULATE_WRITE_NUMBER) ", %edx\n"
    "  mov $28, %eax\n"  // madvise
    "  syscall\n"
    "  mov %r8, %rdx\n"
    "  jmp _start\n"
    ".size monopod_start, .-monopod_start\n"
    ".text\n");
#elif defined(__aarch64__)
asm(".section .text.monopod_start,\"ax\",@progbits\n"
    ".globl monopod_start\n"
    ".type monopod_start,@function\n"
    "monopod_start:\n"
    "  mov x9, x0\n"
    "  adrp x0, __init_array_start\n"  // its page
    "  adrp x1, _edata\n"
    "  add x1, x1, :lo12:_edata\n"
    "  sub x1, x1, x0\n"
    "  mov x2, #" NUMBER(MADV_POPULATE_WRITE_NUMBER) "\n"
    "  mov x8, #233\n"  // madvise
    "  svc #0\n"
    "  mov x0, x9\n"
    "  b _start\n"
    ".size monopod_start, .-monopod_start\n"
    ".text\n");
#endif

// OpenSSL asks the processor what it can do, which under a hypervisor takes ten microseconds a question, before main and again when it is first used. The
// first time is left out: commands that need no cryptography ask nothing. `--wrap` leads both calls here.
//
// libc asks where the executable is, for the libraries that it would load from beside it: there are none.
extern "C" {
void __real_OPENSSL_cpuid_setup();  // NOLINT: the linker's names
void __wrap_OPENSSL_cpuid_setup();
const char* __wrap__dl_get_origin();  // NOLINT
}

namespace {
volatile bool initialised = false;  // constructors run after .init, where OpenSSL's first call is. volatile: they are evaluated by the compiler otherwise
__attribute__((constructor(101))) void note_constructors() { initialised = true; }
}  // namespace

const char* __wrap__dl_get_origin() { return reinterpret_cast<const char*>(-1); }  // libc's word for unknown

void __wrap_OPENSSL_cpuid_setup() {
  if (initialised) __real_OPENSSL_cpuid_setup();
}
