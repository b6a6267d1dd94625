# SPDX-License-Identifier: Apache-2.0
# octavo_embed(<out variable> <function> FILES ...): generates a .cc that defines
#   const std::vector<std::pair<std::string, std::string>>& octavo::<function>()   // (file name without ending, text), sorted
# from text files, so that the program needs no data directory at run time.
function(octavo_embed out function)
  cmake_parse_arguments(ARG "" "" "FILES" ${ARGN})
  set(target ${CMAKE_CURRENT_BINARY_DIR}/${function}.cc)
  set(body "// Generated from text files by octavo_embed.\n#include <string>\n#include <utility>\n#include <vector>\n\nnamespace octavo {\n")
  string(APPEND body "const std::vector<std::pair<std::string, std::string>>& ${function}() {\n")
  string(APPEND body "  static const std::vector<std::pair<std::string, std::string>> files{\n")
  # By name without ending: "fp8-amax" comes before "fp8-amax-fnuz".
  list(TRANSFORM ARG_FILES REPLACE "\\.toml$" "")
  list(SORT ARG_FILES)
  list(TRANSFORM ARG_FILES APPEND ".toml")
  foreach(file ${ARG_FILES})
    cmake_path(GET file STEM LAST_ONLY stem)
    file(READ ${file} text)
    string(APPEND body "      {\"${stem}\", R\"octavo_text(${text})octavo_text\"},\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  endforeach()
  string(APPEND body "  };\n  return files;\n}\n}  // namespace octavo\n")
  file(CONFIGURE OUTPUT ${target} CONTENT "${body}" @ONLY)
  set(${out} ${target} PARENT_SCOPE)
endfunction()
