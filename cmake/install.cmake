# What `cmake --install build/release --prefix DIR` puts where. The prefix may be chosen that late: nothing installed
# holds an absolute path.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/ TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(TARGETS brood brood_static EXPORT broodTargets)
install(FILES LICENSE TYPE DOC)
if(TARGET brood_command)
    install(TARGETS brood_command)
endif()

# pkg-config
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_includedir)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_libdir)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
           OUTPUT_VARIABLE pc_prefix)
configure_file(cmake/brood.pc.in brood.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/brood.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# find_package
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/brood)
configure_package_config_file(cmake/broodConfig.cmake.in broodConfig.cmake INSTALL_DESTINATION ${package_dir}
                              NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(broodConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/broodConfig.cmake ${PROJECT_BINARY_DIR}/broodConfigVersion.cmake
        DESTINATION ${package_dir})
install(EXPORT broodTargets NAMESPACE brood:: DESTINATION ${package_dir})

# Manual pages, where scdoc is there to make them: man/brood.1.scd becomes share/man/man1/brood.1
file(GLOB pages CONFIGURE_DEPENDS man/*.scd)
find_program(SCDOC scdoc)
if(pages AND NOT SCDOC)
    message(STATUS "scdoc not found: no manual pages")
elseif(pages)
    option(BROOD_MAN_GZIP "Compress the manual pages" OFF)
    set(made_pages "")
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/man)
    foreach(source ${pages})
        cmake_path(GET source STEM LAST_ONLY page)
        string(REGEX MATCH "[0-9]$" section ${page})
        set(command ${SCDOC} < ${source})
        if(BROOD_MAN_GZIP)
            string(APPEND page .gz)
            list(APPEND command | gzip -9n)
        endif()
        set(made ${PROJECT_BINARY_DIR}/man/${page})
        add_custom_command(OUTPUT ${made} DEPENDS ${source} COMMAND ${command} > ${made} VERBATIM)
        install(FILES ${made} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
        list(APPEND made_pages ${made})
        # `man brood_exec_file` finds brood_exec(3): a one-line page for each other function that NAME lists
        file(READ ${source} text)
        string(REGEX MATCH "# NAME\n\n[^#]* - " names "${text}")
        string(REGEX MATCHALL "brood_[a-z0-9_]+" names "${names}")
        cmake_path(GET source STEM LAST_ONLY own)
        foreach(name ${names})
            if(NOT "${name}.${section}" STREQUAL own)
                file(WRITE ${PROJECT_BINARY_DIR}/man/${name}.${section} ".so man${section}/${page}\n")
                install(FILES ${PROJECT_BINARY_DIR}/man/${name}.${section} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
            endif()
        endforeach()
    endforeach()
    add_custom_target(man ALL DEPENDS ${made_pages})
endif()

# Completions, where each shell looks for them
if(EXISTS ${PROJECT_SOURCE_DIR}/completions)
    install(FILES completions/brood.bash RENAME brood
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES completions/_brood DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES completions/brood.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
