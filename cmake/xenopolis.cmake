# Everything of ours is compiled with these, and links to them.
add_library(xenopolis_options INTERFACE)
target_compile_options(xenopolis_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror=return-type -Werror=unused-result
  -fno-omit-frame-pointer)
target_include_directories(xenopolis_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(XENOPOLIS_SANITIZER)
  target_compile_options(xenopolis_options INTERFACE -fsanitize=${XENOPOLIS_SANITIZER} -fno-sanitize-recover=all)
  target_link_options(xenopolis_options INTERFACE -fsanitize=${XENOPOLIS_SANITIZER})
endif()

# For what reads a command line or writes a report: a header like CLI11's takes half a minute at -O3.
set(xenopolis_compile_quickly $<$<CONFIG:RelWithDebInfo>:-O1>)

# The library headers that most files include, compiled once instead of a hundred times. One set for the code, which must
# include what it uses all the same (tools/check-layers looks at includes), one for the tests.
set(xenopolis_common_headers
  <algorithm> <array> <atomic> <cstdint> <cstring> <deque> <functional> <map> <memory> <optional> <string> <string_view>
  <tl/expected.hpp> <unordered_map> <utility> <vector> <fmt/format.h>)
function(xenopolis_precompiled name)
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cc "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE xenopolis_options fmt::fmt tl::expected)
endfunction()
xenopolis_precompiled(xenopolis_precompiled_code)
target_precompile_headers(xenopolis_precompiled_code PRIVATE ${xenopolis_common_headers})
xenopolis_precompiled(xenopolis_precompiled_tests)
# Tests are compiled more often than they are run.
target_compile_options(xenopolis_precompiled_tests PRIVATE -O0)
target_link_libraries(xenopolis_precompiled_tests PRIVATE GTest::gtest GTest::gmock)
target_precompile_headers(xenopolis_precompiled_tests PRIVATE ${xenopolis_common_headers} <gmock/gmock.h> <gtest/gtest.h>)

# What JSON takes to compile is most of the build.
xenopolis_precompiled(xenopolis_precompiled_json)
target_compile_options(xenopolis_precompiled_json PRIVATE ${xenopolis_compile_quickly})
target_link_libraries(xenopolis_precompiled_json PRIVATE nlohmann_json::nlohmann_json)
target_precompile_headers(xenopolis_precompiled_json PRIVATE ${xenopolis_common_headers} <nlohmann/json.hpp>)
function(xenopolis_with_json target)
  target_compile_options(${target} PRIVATE ${xenopolis_compile_quickly})
  target_precompile_headers(${target} REUSE_FROM xenopolis_precompiled_json)
endfunction()

# xenopolis_find_library(VARIABLE NAME): the archive where there is one: what a program need not load and bind makes it start
# earlier, which is most of the time that a short command takes.
function(xenopolis_find_library variable name)
  find_library(${variable} NAMES lib${name}.a ${name} REQUIRED)
endfunction()

# xenopolis_library(event SOURCES a.cc b.cc DEPENDS machine): library xenopolis_event out of one directory of src/. JSON:
# most of its files read or write that, and nothing waits for what they do.
function(xenopolis_library name)
  cmake_parse_arguments(ARG "JSON" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(xenopolis_${name} STATIC ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPENDS PREPEND xenopolis_)
  target_link_libraries(xenopolis_${name} PUBLIC xenopolis_options ${ARG_DEPENDS} ${ARG_LIBRARIES})
  if(ARG_JSON)
    target_link_libraries(xenopolis_${name} PUBLIC nlohmann_json::nlohmann_json)
    xenopolis_with_json(xenopolis_${name})
  else()
    target_precompile_headers(xenopolis_${name} REUSE_FROM xenopolis_precompiled_code)
  endif()
endfunction()

# xenopolis_program(polis-cell SOURCES polis_cell.cc DEPENDS vcpu): an executable in bin/. JSON as above.
function(xenopolis_program name)
  cmake_parse_arguments(ARG "JSON" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPENDS PREPEND xenopolis_)
  target_link_libraries(${name} PRIVATE xenopolis_options ${ARG_DEPENDS} ${ARG_LIBRARIES})
  if(ARG_JSON)
    xenopolis_with_json(${name})
  endif()
endfunction()

# xenopolis_test(fifo_test SOURCES fifo_test.cc DEPENDS event [LABELS kvm]): a GoogleTest program, one ctest entry
# per program so that a run stays short; labels select (ctest -L kvm).
function(xenopolis_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPENDS PREPEND xenopolis_)
  target_link_libraries(${name} PRIVATE xenopolis_options ${ARG_DEPENDS} ${ARG_LIBRARIES} GTest::gtest_main GTest::gmock)
  target_compile_options(${name} PRIVATE -O0)
  target_precompile_headers(${name} REUSE_FROM xenopolis_precompiled_tests)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300)
endfunction()

# The tests of this directory want the machine for themselves: they start many processes, or look at the time.
function(xenopolis_run_tests_alone)
  get_property(tests DIRECTORY PROPERTY TESTS)
  set_tests_properties(${tests} PROPERTIES RUN_SERIAL ON)
endfunction()
