# monopod_package(NAME [SMALL] [TOGETHER] DEPS pkg... EXT lib... COLD regex... EXCLUDE regex...)
# EXCLUDE: files that are not built, by their path in the package: what another processor is for.
# SMALL: in release builds size comes before speed, for what runs rarely. COLD: the same for some of its files, by their path in the package.
# TOGETHER: in release builds four files are compiled at a time, so that what asio's templates cost in each is paid once; names in their unnamed
# namespaces must differ then.
# Builds pkg/NAME: every *.cc below it except *_test.cc into the static library pkg_NAME, every *_test.cc into the
# test binary NAME_test. Files are found by glob: adding one needs no edit here.
add_library(monopod_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(monopod_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
target_compile_options(monopod_pch PRIVATE ${MONOPOD_WARNINGS})
target_compile_options(monopod_pch PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/pkg")

# The same header for what is compiled for size: clang takes no header of another optimisation.
add_library(monopod_pch_small OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_compile_options(monopod_pch_small PRIVATE ${MONOPOD_WARNINGS})
target_compile_options(monopod_pch_small PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/pkg")
target_compile_options(monopod_pch_small PRIVATE $<$<CONFIG:Release>:-Oz>)
target_precompile_headers(monopod_pch_small PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)

# small: a CMake truth value.
function(monopod_precompile target small)
  if("${small}" AND CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${target} PRIVATE -Oz)
    target_precompile_headers(${target} REUSE_FROM monopod_pch_small)
  else()
    # At the default of 225 coroutines inline into one another: half the size of some files, for no speed that was measured.
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:SHELL:-mllvm -inline-threshold=50>)
    target_precompile_headers(${target} REUSE_FROM monopod_pch)
  endif()
endfunction()

# Asio's non-template code; every object that sees the precompiled header refers to it.
add_library(ext_asio STATIC ${CMAKE_SOURCE_DIR}/cmake/asio_impl.cc)
target_link_libraries(ext_asio PUBLIC Threads::Threads)

function(monopod_package name)
  cmake_parse_arguments(ARG "SMALL;TOGETHER" "" "DEPS;EXT;COLD;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  foreach(regex ${ARG_EXCLUDE})
    list(FILTER all EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${regex}")
  endforeach()
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER all EXCLUDE REGEX "_test\\.cc$")
  set(cold)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    foreach(regex ${ARG_COLD})
      set(matching ${all})
      list(FILTER matching INCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${regex}")
      list(APPEND cold ${matching})
    endforeach()
  endif()
  if(cold)
    list(REMOVE_DUPLICATES cold)
    list(REMOVE_ITEM all ${cold})
    add_library(pkg_${name}_cold OBJECT ${cold})
    monopod_package_target(pkg_${name}_cold TRUE)
    list(APPEND all $<TARGET_OBJECTS:pkg_${name}_cold>)
  endif()
  add_library(pkg_${name} STATIC ${all})
  monopod_package_target(pkg_${name} "${ARG_SMALL}")
  if(MONOPOD_TESTS AND tests)
    monopod_test(${name}_test SOURCES ${tests} DEPS ${name})
  endif()
endfunction()

# What a library of a package is compiled and linked with; ARG_DEPS and ARG_EXT are the caller's.
function(monopod_package_target target small)
  target_compile_options(${target} PUBLIC "SHELL:-iquote ${CMAKE_SOURCE_DIR}/pkg") # quotes only: pkg/sys must not shadow <sys/...>
  target_compile_options(${target} PRIVATE ${MONOPOD_WARNINGS})
  monopod_precompile(${target} "${small}")
  if(ARG_TOGETHER AND CMAKE_BUILD_TYPE STREQUAL "Release")
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
  foreach(dep ${ARG_DEPS})
    target_link_libraries(${target} PUBLIC pkg_${dep})
  endforeach()
  foreach(ext asio ${ARG_EXT})
    target_link_libraries(${target} PUBLIC ext_${ext})
  endforeach()
endfunction()

# monopod_test(NAME SOURCES files... DEPS pkg...): a gtest binary registered with ctest.
function(monopod_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(DEFINED ENV{MONOPOD_LONG}) # ctest's --timeout does not reach tests that have one of their own
    set(ARG_TIMEOUT 7200)
  endif()
  if(MONOPOD_ASAN OR CMAKE_CROSSCOMPILING) # sanitizers and emulation take several times as long
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 6")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/pkg" "SHELL:-iquote ${CMAKE_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE ${MONOPOD_WARNINGS})
  target_precompile_headers(${name} REUSE_FROM monopod_pch)
  foreach(dep ${ARG_DEPS})
    target_link_libraries(${name} PRIVATE pkg_${dep})
  endforeach()
  target_link_libraries(${name} PRIVATE ext_gtest Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
