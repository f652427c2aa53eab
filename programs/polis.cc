// polis: the command line.
#include "cli/command.h"

int main(int argc, char** argv) {
  using namespace xenopolis;
  cli::CommandLine line("polis: thousands of Xen domains on one machine, on KVM, without booting Xen",
                        XENOPOLIS_VERSION);
  for (const auto add :
       {cli::add_host, cli::add_create, cli::add_queries, cli::add_domain, cli::add_console, cli::add_top,
        cli::add_observation, cli::add_fleet, cli::add_doctor, cli::add_experiment, cli::add_completion})
    add(line);
  return line.run(argc, argv);
}
