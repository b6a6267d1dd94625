// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "octavo/comm/communicator.h"

namespace octavo {

enum class Engine { self, openmpi, mpich };

/// Which engine this process was started for, from the environment of its launcher:
///   OMPI_COMM_WORLD_SIZE (mpirun of Open MPI), PMIX_RANK (srun --mpi=pmix)   -> openmpi
///   PMI_SIZE (mpiexec of MPICH, srun --mpi=pmi2)                             -> mpich
///   none, or a launcher with one process                                     -> self
/// OCTAVO_COMM=self|openmpi|mpich overrides it. Throws usage for another value, unsupported for srun without
/// an MPI plugin: each task would train on its own. `variable` is getenv, or a test's.
Engine engine_of_environment(const std::function<const char*(const char*)>& variable);

/// Opens the plugin `library` (a path); keeps it loaded.
TransportFactory plugin_transport(const std::string& library, const std::string& engine);
/// Where plugins lie: ../lib/octavo beside the program's directory.
std::string plugin_path(Engine engine);
/// In words: the path of the engine's plugin, or why it is not there or cannot be opened. MPI is not
/// started.
std::string plugin_state(Engine engine);

/// The communicator of this process. `options.check` and `options.fault` are also taken from
/// OCTAVO_COMM_CHECK=1 and OCTAVO_FAULT. Throws unsupported when the engine's plugin is not there.
std::unique_ptr<Communicator> make_communicator(CommOptions options = {});
/// One rank, whatever the environment says.
std::unique_ptr<Communicator> self_communicator();

}  // namespace octavo
