# Tests, examples, benchmarks, fuzzers. Everything is looked for, so that a new file is a new test and nothing else has
# to be edited. Exit code 77 is a skip everywhere.
enable_testing()
set(run_here ${PROJECT_SOURCE_DIR}/tests/in-temp-dir.sh)
set(slow 1) # how many times longer than usual everything may take
if(BROOD_SANITIZE)
    set(slow 3)
endif()
math(EXPR deadline "60 * ${slow}")
math(EXPR long_deadline "900 * ${slow}")

# brood_program(TARGET SOURCE LIBRARY…): a program of one file. In its first lines it may ask for more: `cmake: MODULE…`
# are pkg-config modules, without which it is left out; `cmake: static` is for one that links nothing but libc.
function(brood_program target source)
    add_executable(${target} ${source})
    file(STRINGS ${source} asked LIMIT_COUNT 5 REGEX "^/\\* cmake: ")
    string(REGEX REPLACE "^/\\* cmake: +(.*[^ ]) +\\*/$" "\\1" asked "${asked}")
    if(asked STREQUAL static)
        target_link_options(${target} PRIVATE -static)
        target_link_libraries(${target} PRIVATE brood_warnings)
        return()
    endif()
    target_link_libraries(${target} PRIVATE ${ARGN})
    if(asked)
        string(REPLACE " " ";" asked "${asked}")
        pkg_check_modules(${target} IMPORTED_TARGET ${asked})
        if(${target}_FOUND)
            target_link_libraries(${target} PRIVATE PkgConfig::${target})
        else()
            message(STATUS "${target} is left out: it needs ${asked}")
            set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
        endif()
    endif()
endfunction()

# brood-test, and the programs that its tests start: those know nothing of brood and are never instrumented.
file(GLOB test_sources CONFIGURE_DEPENDS tests/*.c tests/harness/*.c)
file(GLOB helper_sources CONFIGURE_DEPENDS tests/helper/*.c)
if(BROOD_TESTS)
    foreach(source ${helper_sources})
        cmake_path(GET source STEM name)
        add_executable(brood-${name} ${source})
        target_compile_definitions(brood-${name} PRIVATE _GNU_SOURCE)
        target_link_libraries(brood-${name} PRIVATE brood_warnings)
        target_link_options(brood-${name} PRIVATE -static) # so that they run under any limit, and start fast
    endforeach()
endif()
if(BROOD_TESTS AND test_sources)
    add_executable(brood-test ${test_sources})
    target_include_directories(brood-test PRIVATE tests)
    target_compile_definitions(brood-test PRIVATE BROOD_TEST_SOURCES="${PROJECT_SOURCE_DIR}/tests")
    target_link_libraries(brood-test PRIVATE brood_internal brood_static $<TARGET_NAME_IF_EXISTS:brood_cli>)
    # Its own deadline comes first: it tells more than ctest's.
    set(environment BROOD_TEST_BIN_DIR=${PROJECT_BINARY_DIR} BROOD_TEST_SLOW=${slow} BROOD_TEST_DEADLINE_MS=50000)
    set(names ${PROJECT_BINARY_DIR}/brood-test.cmake)
    add_custom_command(TARGET brood-test POST_BUILD BYPRODUCTS ${names} VERBATIM
        COMMAND ${CMAKE_COMMAND} -D TESTER=$<TARGET_FILE:brood-test> -D OUT=${names} -D DEADLINE=${deadline}
                -D "ENVIRONMENT=${environment}" -P ${PROJECT_SOURCE_DIR}/cmake/discover.cmake)
    file(WRITE ${PROJECT_BINARY_DIR}/tests.cmake
        "if(EXISTS [==[${names}]==])\n  include([==[${names}]==])\nelse()\n  add_test(brood-test_not_built false)\nendif()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${PROJECT_BINARY_DIR}/tests.cmake)

    # All of them once more: on hosts of other kinds, without what newer kernels have, and those that are fit for it
    # with each call failed in turn.
    foreach(profile user container files noptrace)
        add_test(NAME profile-${profile} COMMAND ${PROJECT_SOURCE_DIR}/tests/profile.sh ${PROJECT_BINARY_DIR} ${profile})
        set_tests_properties(profile-${profile} PROPERTIES ENVIRONMENT "${environment}")
        list(APPEND whole_runs profile-${profile})
    endforeach()
    if(BROOD_FAULTS)
        foreach(probe close_range nosignal pidfd_info pidfd_group shared_memory memfd cgroup direct)
            add_test(NAME probe-off-${probe} COMMAND brood-test --all -j2)
            set_tests_properties(probe-off-${probe} PROPERTIES ENVIRONMENT "${environment};BROOD_TEST_WITHOUT=${probe}")
            list(APPEND whole_runs probe-off-${probe})
        endforeach()
        # Without cgroups a holder starts its program in one of two ways, of which a first start takes the slower one.
        add_test(NAME holders-alone COMMAND brood-test --all -j2)
        add_test(NAME torture-holders-alone COMMAND brood-test --torture-all -j2 "tree_*" "members_*" "freeze_*")
        foreach(run holders-alone torture-holders-alone)
            set_tests_properties(${run} PROPERTIES
                ENVIRONMENT "${environment};BROOD_TEST_WITHOUT=cgroup;BROOD_TEST_WARM=1")
            list(APPEND whole_runs ${run})
        endforeach()
        # Where the first start has shown that memory is shared, the next need not be waited for, nor wake the loop but
        # with a tree.
        add_test(NAME starts-ahead COMMAND brood-test --all -j2 "ahead_*" "exec_*" "max_*" "result_*" "usage_*" "hooks_*")
        add_test(NAME torture-starts-ahead COMMAND brood-test --torture-all -j2 "ahead_*" "exec_*")
        foreach(run starts-ahead torture-starts-ahead)
            set_tests_properties(${run} PROPERTIES ENVIRONMENT "${environment};BROOD_TEST_AHEAD=1;BROOD_TEST_WARM=1")
            list(APPEND whole_runs ${run})
        endforeach()
        add_test(NAME torture COMMAND brood-test --torture-all -j2)
        set_tests_properties(torture PROPERTIES ENVIRONMENT "${environment}")
        list(APPEND whole_runs torture)
    endif()
    set_tests_properties(${whole_runs} PROPERTIES
        TIMEOUT ${long_deadline} SKIP_RETURN_CODE 77 PROCESSORS 2 LABELS whole)
endif()

# The command, from a shell.
if(BROOD_TESTS AND TARGET brood_command)
    file(GLOB scripts CONFIGURE_DEPENDS tests/cli/*.sh)
    foreach(script ${scripts})
        cmake_path(GET script STEM name)
        add_test(NAME cli-${name} COMMAND ${run_here} bash ${script})
        set_tests_properties(cli-${name} PROPERTIES TIMEOUT ${deadline} SKIP_RETURN_CODE 77 ENVIRONMENT
            "BROOD=$<TARGET_FILE:brood_command>;BROOD_CHILD=${PROJECT_BINARY_DIR}/brood-child;SRC=${PROJECT_SOURCE_DIR}")
    endforeach()
endif()

# What real Node makes of the same bytes.
if(BROOD_TESTS)
    foreach(name values peer)
        add_executable(brood-${name} tests/node/${name}.c)
        target_link_libraries(brood-${name} PRIVATE brood_internal brood_static)
    endforeach()
    foreach(name values pairs workers pool)
        add_test(NAME node-${name} COMMAND ${run_here} bash ${PROJECT_SOURCE_DIR}/tests/node/${name}.sh)
        set_tests_properties(node-${name} PROPERTIES TIMEOUT ${deadline} SKIP_RETURN_CODE 77 ENVIRONMENT
            "BROOD=${PROJECT_BINARY_DIR}/brood;VALUES=$<TARGET_FILE:brood-values>;PEER=$<TARGET_FILE:brood-peer>;SRC=${PROJECT_SOURCE_DIR}")
    endforeach()
endif()

# Examples see what a user sees: the shared library and the public headers. `test: run` in the first lines makes one a
# test.
if(BROOD_TESTS)
    file(GLOB sources CONFIGURE_DEPENDS examples/*.c)
    foreach(source ${sources})
        cmake_path(GET source STEM name)
        brood_program(brood-${name} ${source} brood brood_warnings brood_sanitize Threads::Threads PkgConfig::LIBUV)
        file(STRINGS ${source} marked LIMIT_COUNT 5 REGEX "^/\\* test: run \\*/$")
        get_target_property(left_out brood-${name} EXCLUDE_FROM_ALL)
        if(marked AND NOT left_out)
            add_test(NAME example-${name} COMMAND brood-${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
            set_tests_properties(example-${name} PROPERTIES TIMEOUT ${deadline} SKIP_RETURN_CODE 77)
        endif()
    endforeach()
    add_dependencies(brood-tour brood-sum) # which it starts
endif()

# Benchmarks, and those of their peers that are written in C: bench/run runs them.
if(BROOD_TESTS AND NOT BROOD_SANITIZE)
    set(bench_sources bench/*.c)
    set(peer_sources bench/peers/*.c)
    foreach(kind bench peer)
        file(GLOB sources CONFIGURE_DEPENDS ${${kind}_sources})
        foreach(source ${sources})
            cmake_path(GET source STEM name)
            brood_program(${kind}-${name} ${source} brood_internal brood_static)
        endforeach()
    endforeach()
endif()

# fuzz/NAME.c is a libFuzzer target in the fuzz preset. Everywhere else fuzz/replay.c runs it over fuzz/corpus/NAME, as
# a test.
file(GLOB sources CONFIGURE_DEPENDS fuzz/*.c)
list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/fuzz/replay.c)
foreach(source ${sources})
    cmake_path(GET source STEM name)
    add_executable(fuzz-${name} ${source})
    target_link_libraries(fuzz-${name} PRIVATE brood_internal brood_static $<TARGET_NAME_IF_EXISTS:brood_cli>)
    if(BROOD_FUZZ)
        target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(fuzz-${name} PRIVATE fuzz/replay.c)
        add_test(NAME replay-${name} COMMAND ${run_here} $<TARGET_FILE:fuzz-${name}> ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
        set_tests_properties(replay-${name} PROPERTIES TIMEOUT ${deadline})
    endif()
endforeach()

# The tree itself, the installed copy, and the documents' programs. They are the same whatever the sanitizer.
if(BROOD_TESTS AND NOT BROOD_SANITIZE)
    add_test(NAME layers COMMAND ${PROJECT_SOURCE_DIR}/tests/layers.sh)
    add_test(NAME install COMMAND ${PROJECT_SOURCE_DIR}/tests/install/run.sh)
    add_test(NAME snippets COMMAND ${run_here} ${PROJECT_SOURCE_DIR}/tests/snippets.sh ${PROJECT_BINARY_DIR})
    set_tests_properties(layers PROPERTIES TIMEOUT 60)
    set_tests_properties(install snippets PROPERTIES TIMEOUT 300 ENVIRONMENT "CC=${CMAKE_C_COMPILER}")
    set_tests_properties(install PROPERTIES PROCESSORS 2)
endif()
