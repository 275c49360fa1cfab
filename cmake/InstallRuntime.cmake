# Installs what another program needs to embed the runtime (component `runtime`): the library, its two headers, a CMake
# package (`find_package(quern)`, target `quern::runtime`) and a pkg-config file (`quern`).
include(CMakePackageConfigHelpers)

set(QUERN_CMAKE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
set_target_properties(quern_runtime PROPERTIES EXPORT_NAME runtime)
install(TARGETS quern_runtime EXPORT quernTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT runtime)
install(FILES ${PROJECT_SOURCE_DIR}/include/quern/quern.h ${PROJECT_SOURCE_DIR}/include/quern/quern.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quern COMPONENT runtime)
install(EXPORT quernTargets NAMESPACE quern:: DESTINATION ${QUERN_CMAKE_FOLDER} COMPONENT runtime)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/quernConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/quernConfig.cmake INSTALL_DESTINATION ${QUERN_CMAKE_FOLDER})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/quernConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/quernConfig.cmake ${PROJECT_BINARY_DIR}/cmake/quernConfigVersion.cmake
  DESTINATION ${QUERN_CMAKE_FOLDER} COMPONENT runtime)

# The pkg-config file finds its prefix from where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH QUERN_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/quern.pc.in ${PROJECT_BINARY_DIR}/cmake/quern.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cmake/quern.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT runtime)
