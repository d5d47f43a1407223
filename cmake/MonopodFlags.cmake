# Compiler and linker flags for every target of the tree.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON) # statement-level GNU features stay off by warnings; clang wants gnu++23 for libstdc++ builtins
# PIE everywhere by hand: libraries and executables then share one precompiled header.
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_C_FLAGS_RELEASE "-O2")

add_compile_options(-fPIE -ffunction-sections -fdata-sections -fstack-protector-strong)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  # Landing marks cost 5 % of the code: no Linux kernel checks them in user space, and the shadow stack needs a newer libc than Debian 12's.
  add_compile_options(-fno-plt $<IF:$<CONFIG:Release>,-fcf-protection=none,-fcf-protection>)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # No -fno-plt: there it makes an entry of the global offset table for every function that is called, and libc's own code reaches 32 KiB of that table.
  add_compile_options(-mbranch-protection=standard)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  add_compile_options(-fno-asynchronous-unwind-tables) # exceptions need their tables at calls only: a sixth of .eh_frame
endif()

add_compile_definitions(
  BOOST_ASIO_SEPARATE_COMPILATION
  BOOST_ASIO_NO_DEPRECATED
  BOOST_ASIO_DISABLE_BOOST_COROUTINE
  BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING # two kept blocks are too few; base/block_cache.h keeps them through operator new
  BOOST_ASIO_DISABLE_SMALL_BLOCK_RECYCLING
  BOOST_ASIO_DISABLE_STD_ALIGNED_ALLOC
  BOOST_ASIO_DISABLE_BOOST_ALIGN
  MONOPOD_VERSION="${PROJECT_VERSION}")

if(MONOPOD_ASAN)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined -fuse-ld=lld-19)
else()
  add_link_options(-static-pie -fuse-ld=lld-19 -Wl,--gc-sections -Wl,--icf=safe $<$<CONFIG:Release>:-Wl,-O2> -Wl,--pack-dyn-relocs=relr -Wl,-z,relro,-z,now
    -Wl,-z,keep-text-section-prefix) # hundreds of static initialisers, each in a page of its own otherwise
endif()

# Warnings that hold in our own tree only (system headers are exempt by -isystem).
set(MONOPOD_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Werror
    -Wno-missing-field-initializers -Wno-missing-designated-field-initializers # options structs are named by what differs from their defaults
    -Wno-deprecated-declarations)              # libstdc++ 12's own stable_sort trips it

# Compiled objects are shared between build folders where ccache is present.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Xclang> $<$<COMPILE_LANGUAGE:CXX>:-fno-pch-timestamp>)
endif()
