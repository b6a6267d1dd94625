# SPDX-License-Identifier: Apache-2.0
# Writes octavo_version.h (version and commit) at build time; the file changes only when its content does.
add_custom_target(octavo_version_header
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/octavo_version.h
          -DVERSION=${PROJECT_VERSION} -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake
  BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/octavo_version.h
  COMMENT "")
