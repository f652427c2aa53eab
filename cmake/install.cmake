# `cmake --install build/release --prefix /usr/local`. Programs find each other and their guests from where they are, in the
# build directory as well as installed: lib/xenopolis has both as the build directory has them, and what people call is
# linked to from bin and sbin. Hence what was installed may also be moved, or packed (DESTDIR).
set(xenopolis_private lib/xenopolis)

install(TARGETS polis polisd polis-keeper polis-cell polis-xenstored polis-consoled polis-peer
  RUNTIME DESTINATION ${xenopolis_private}/bin)
install(TARGETS guest_citizen guest_echo guest_hello peer-guest RUNTIME DESTINATION ${xenopolis_private}/guest)
install(DIRECTORY ${PROJECT_BINARY_DIR}/man DESTINATION share)
install(FILES LICENSE README.md DESTINATION share/doc/xenopolis)
install(DIRECTORY docs DESTINATION share/doc/xenopolis FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN man EXCLUDE)

install(CODE [[
  set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
  foreach(link bin/polis bin/polis-xenstored sbin/polisd sbin/polis-consoled)
    get_filename_component(directory ${link} DIRECTORY)
    get_filename_component(program ${link} NAME)
    file(MAKE_DIRECTORY ${root}/${directory})
    file(CREATE_LINK ../lib/xenopolis/bin/${program} ${root}/${link} SYMBOLIC)
    message(STATUS "Installing: ${root}/${link}")
  endforeach()

  foreach(script bash=bash-completion/completions/polis zsh=zsh/site-functions/_polis fish=fish/vendor_completions.d/polis.fish)
    string(REGEX MATCH "^([a-z]+)=(.*)$" matched ${script})
    set(file ${root}/share/${CMAKE_MATCH_2})
    execute_process(COMMAND ${root}/bin/polis completion ${CMAKE_MATCH_1} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    file(WRITE ${file} "${text}")
    message(STATUS "Installing: ${file}")
  endforeach()
]])

# A service manager has a PATH of its own.
install(CODE "set(unit \"${PROJECT_SOURCE_DIR}/share/systemd/polis-host@.service\")")
install(CODE [[
  file(READ ${unit} text)
  string(REPLACE "/usr/bin/env polis" "${CMAKE_INSTALL_PREFIX}/bin/polis" text "${text}")
  foreach(manager system user)
    set(file $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/lib/systemd/${manager}/polis-host@.service)
    file(WRITE ${file} "${text}")
    message(STATUS "Installing: ${file}")
  endforeach()
]])
