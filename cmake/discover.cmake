# After each link of brood-test: write the file from which ctest learns its tests, one for each name that --list prints.
# Called with TESTER (brood-test), OUT (the file), DEADLINE (seconds) and ENVIRONMENT (of each test).
cmake_policy(VERSION 3.25)
set(ENV{ASAN_OPTIONS} detect_leaks=0) # which fails where ptrace is denied; a list is no test
execute_process(COMMAND ${TESTER} --list OUTPUT_VARIABLE names COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${TESTER} --list --alone OUTPUT_VARIABLE alone COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" names "${names}")
string(REGEX MATCHALL "[^\n]+" alone "${alone}")
set(script "")
foreach(name ${names})
    set(serial OFF)
    if(name IN_LIST alone)
        set(serial ON)
    endif()
    string(APPEND script
        "add_test([==[${name}]==] [==[${TESTER}]==] [==[${name}]==])\n"
        "set_tests_properties([==[${name}]==] PROPERTIES TIMEOUT ${DEADLINE} SKIP_RETURN_CODE 77 RUN_SERIAL ${serial} "
        "ENVIRONMENT [==[${ENVIRONMENT}]==])\n")
endforeach()
file(WRITE ${OUT} "${script}")
