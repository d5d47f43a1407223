# Cross build for 64-bit ARM with the host's clang. MONOPOD_SYSROOT is what packaging/scripts/arm64-sysroot made.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER clang-19)
set(CMAKE_CXX_COMPILER clang++-19)
set(CMAKE_C_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MONOPOD_SYSROOT)
set(CMAKE_SYSROOT ${MONOPOD_SYSROOT})
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld-19") # the host's own linker knows no arm64
set(CMAKE_AR llvm-ar-19)
set(CMAKE_RANLIB llvm-ranlib-19)
set(CMAKE_STRIP llvm-strip-19)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# Unit tests run under user-mode emulation. The architected pointer authentication cipher of -mbranch-protection, emulated at every
# call and return, costs a factor of 100; qemu's own stands in for it. It keeps a record of every page that was ever reserved: in 512 GiB of addresses those of
# linear memories are reserved again and again, instead of filling the host's memory.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -R 0x8000000000 -cpu max,pauth-impdef=on)
