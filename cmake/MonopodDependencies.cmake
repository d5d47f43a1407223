# Third-party libraries, all as static archives from Debian 12. Why each is here: packaging/docs/dependencies.md.
find_package(Threads REQUIRED)

# archive, but without the tables for unwinding: C code through which no exception may pass anyway carries 0.7 MB of them. An exception that leaves
# one of its callbacks ends the process instead of leaving the library half way. Where the tool is missing the archive stays as it is.
# options: more for the tool.
find_program(MONOPOD_OBJCOPY NAMES llvm-objcopy-19 objcopy)
function(monopod_without_unwinding archive out options)
  set(${out} ${archive} PARENT_SCOPE)
  if(MONOPOD_ASAN OR NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR NOT MONOPOD_OBJCOPY)
    return()
  endif()
  get_filename_component(file ${archive} NAME)
  set(lean ${CMAKE_BINARY_DIR}/lean/${file})
  if(NOT EXISTS ${lean} OR ${archive} IS_NEWER_THAN ${lean} OR ${CMAKE_CURRENT_FUNCTION_LIST_FILE} IS_NEWER_THAN ${lean})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/lean)
    execute_process(COMMAND ${MONOPOD_OBJCOPY} --remove-section=.eh_frame --remove-section=.rela.eh_frame ${options} ${archive} ${lean} RESULT_VARIABLE failed ERROR_VARIABLE why)
    if(failed)
      message(STATUS "${file} stays as it is: ${why}")
      file(REMOVE ${lean})
      return()
    endif()
  endif()
  set(${out} ${lean} PARENT_SCOPE)
endfunction()

# monopod_import(NAME [LEAN] [LATE] LIBS lib...): LEAN: C libraries that call back nothing that throws. LATE: and whose tables of addresses are a section of
# their own in release builds, which is relocated when main says so (cmake/start.h).
function(monopod_import name)
  cmake_parse_arguments(ARG "LEAN;LATE" "" "LIBS" ${ARGN})
  add_library(ext_${name} INTERFACE)
  foreach(lib ${ARG_LIBS})
    if(MONOPOD_ASAN)
      find_library(EXT_${name}_${lib} NAMES ${lib} REQUIRED)
    else()
      find_library(EXT_${name}_${lib} NAMES lib${lib}.a REQUIRED)
    endif()
    set(archive ${EXT_${name}_${lib}})
    if(ARG_LEAN)
      set(options)
      if(ARG_LATE)
        set(options --rename-section=.data.rel.ro=library_tables --rename-section=.data.rel.ro.local=library_tables)
      endif()
      monopod_without_unwinding(${archive} archive "${options}")
    endif()
    target_link_libraries(ext_${name} INTERFACE ${archive})
  endforeach()
endfunction()

# The start of a static glibc, but that it asks for the processor's caches where it is told quickly: pkg/sys/cpu_caches.h. The object is linked before
# libc's own. Empty, and libc as it is, where a tool is missing or libc is not the one that this was written for.
find_program(MONOPOD_PYTHON NAMES python3)
function(monopod_lean_libc out)
  set(${out} "" PARENT_SCOPE)
  if(MONOPOD_ASAN OR NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64" OR NOT MONOPOD_OBJCOPY OR NOT MONOPOD_PYTHON)
    return()
  endif()
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libc.a OUTPUT_VARIABLE archive OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(lean ${CMAKE_BINARY_DIR}/lean/libc-start.o)
  set(callee handle_intel.constprop.0)
  if(NOT EXISTS ${lean} OR ${archive} IS_NEWER_THAN ${lean} OR ${CMAKE_CURRENT_FUNCTION_LIST_FILE} IS_NEWER_THAN ${lean}
     OR ${CMAKE_SOURCE_DIR}/cmake/redirect_calls.py IS_NEWER_THAN ${lean})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/lean)
    file(REMOVE ${lean})
    execute_process(COMMAND ${CMAKE_AR} p ${archive} libc-start.o OUTPUT_FILE ${lean}.libc ERROR_QUIET)
    execute_process(COMMAND ${MONOPOD_OBJCOPY} --globalize-symbol=${callee} --globalize-symbol=monopod_libc_cpu_cache
                            --redefine-sym=${callee}=monopod_libc_cpu_cache ${lean}.libc ERROR_QUIET) # GNU's takes the new name, LLVM's the old one
    execute_process(COMMAND ${MONOPOD_PYTHON} ${CMAKE_SOURCE_DIR}/cmake/redirect_calls.py ${lean}.libc ${lean} monopod_libc_cpu_cache monopod_cpu_cache
                    RESULT_VARIABLE failed ERROR_VARIABLE why)
    if(failed)
      message(STATUS "libc-start.o stays as it is: ${why}")
      return()
    endif()
  endif()
  set_source_files_properties(${lean} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${out} ${lean} PARENT_SCOPE)
endfunction()

monopod_import(openssl LEAN LATE LIBS ssl crypto)
target_link_libraries(ext_openssl INTERFACE Threads::Threads)
monopod_import(boost_json LIBS boost_json boost_container)
monopod_import(nghttp2 LIBS nghttp2)
monopod_import(sqlite LEAN LATE LIBS sqlite3)
monopod_import(yaml LIBS yaml-cpp)
monopod_import(seccomp LEAN LIBS seccomp)
monopod_import(crypt LEAN LIBS crypt)
monopod_import(zlib LEAN LIBS z)
monopod_import(zstd LEAN LIBS zstd)
# It has callbacks of ours, which throw nothing.
monopod_import(asmjit LEAN LIBS asmjit)
target_link_options(ext_asmjit INTERFACE LINKER:--wrap=_ZN6asmjit8_abi_1_910DebugUtils15assertionFailedEPKciS3_) # pkg/wasm/jit/compiler.cc
if(MONOPOD_TESTS)
  monopod_import(gtest LIBS gmock gtest gtest_main)
endif()
