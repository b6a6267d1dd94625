// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/make_communicator.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"
#include "octavo/base/suggest.h"
#include "octavo/comm/watchdog.h"

#define OCTAVO_TEXT_OF(name) #name
#define OCTAVO_NAME_TEXT(name) OCTAVO_TEXT_OF(name)

namespace octavo {
namespace {

class SelfTransport final : public Transport {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string host() const override { return host_name(); }
  void transfer(SendParts, ReceiveParts, Progress&) override {}
  void close() override {}
  void abort(int code) noexcept override { ::_exit(code); }
};

const char* environment(const char* name) { return std::getenv(name); }

const char* name_of(Engine engine) { return engine == Engine::mpich ? "MPICH" : "Open MPI"; }

}  // namespace

Engine engine_of_environment(const std::function<const char*(const char*)>& variable) {
  const auto text = [&](const char* name) {
    const char* value = variable(name);
    return std::string_view(value ? value : "");
  };
  if (const std::string_view wanted = text("OCTAVO_COMM"); !wanted.empty()) {
    if (wanted == "self") return Engine::self;
    if (wanted == "openmpi") return Engine::openmpi;
    if (wanted == "mpich") return Engine::mpich;
    fail_usage("OCTAVO_COMM is " + quote_name(wanted) + did_you_mean(wanted, {"self", "openmpi", "mpich"}));
  }
  // mpirun of Open MPI sets variables of PMIx too, and Slurm's remain set below either launcher.
  if (const std::string_view size = text("OMPI_COMM_WORLD_SIZE"); !size.empty())
    return size == "1" ? Engine::self : Engine::openmpi;
  if (const std::string_view size = text("PMI_SIZE"); !size.empty())
    return size == "1" ? Engine::self : Engine::mpich;
  if (!text("PMIX_RANK").empty()) return Engine::openmpi;
  if (const std::string_view tasks = text("SLURM_STEP_NUM_TASKS"); !tasks.empty() && tasks != "1")
    fail_unsupported(
        "srun started " + std::string(tasks) +
        " tasks that cannot find each other; use srun --mpi=pmix or mpirun, or OCTAVO_COMM=self for "
        "runs of their own");
  return Engine::self;
}

std::string plugin_path(Engine engine) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const char* name = engine == Engine::mpich ? "comm-mpich.so" : "comm-openmpi.so";
  return (program.parent_path().parent_path() / "lib" / "octavo" / name).string();
}

std::string plugin_state(Engine engine) {
  const std::string library = plugin_path(engine);
  if (::access(library.c_str(), F_OK) != 0) return "not built: there is no " + library;
  // Local, and closed again: the symbols of two MPIs in one process would mix.
  void* handle = ::dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!handle) return std::string("cannot be opened: ") + ::dlerror();
  ::dlclose(handle);
  return library;
}

TransportFactory plugin_transport(const std::string& library, const std::string& engine) {
  return [library, engine](Progress& progress) -> std::unique_ptr<Transport> {
    // Global: MPI opens components of its own, which look for its symbols.
    void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
      const std::string why = ::dlerror();
      fail_unsupported("cannot open " + library + ", which connects octavo to " + engine + ": " + why);
    }
    const auto entry =
        reinterpret_cast<TransportEntry>(::dlsym(handle, OCTAVO_NAME_TEXT(OCTAVO_TRANSPORT_ENTRY)));
    if (!entry) fail_unsupported(library + " belongs to another version of octavo; install both anew");
    char error[512] = "";
    std::unique_ptr<Transport> transport(entry(progress, sizeof progress, error, sizeof error));
    if (!transport) fail_unsupported(engine + " does not start: " + error);
    return transport;
  };
}

std::unique_ptr<Communicator> self_communicator() {
  CommOptions options;
  options.deadline = 0;
  return std::make_unique<Communicator>([](Progress&) { return std::make_unique<SelfTransport>(); }, options);
}

std::unique_ptr<Communicator> make_communicator(CommOptions options) {
  const Engine engine = engine_of_environment(environment);
  if (engine == Engine::self) return self_communicator();
  if (const char* check = environment("OCTAVO_COMM_CHECK")) {
    const std::string_view text = check;
    if (text != "0" && text != "1")
      fail_usage("OCTAVO_COMM_CHECK is " + quote_name(text) + ", 0 and 1 are possible");
    options.check = options.check || text == "1";
  }
  if (const char* fault = environment("OCTAVO_FAULT"); fault && options.fault.empty()) options.fault = fault;
  const std::string library = plugin_path(engine);
  if (::access(library.c_str(), F_OK) != 0) {
    const bool mpich = engine == Engine::mpich;
    fail_unsupported(std::string("this process was started by ") + name_of(engine) + ", but there is no " +
                     library + ": install " + (mpich ? "libmpich-dev" : "libopenmpi-dev") +
                     " and build again");
  }
  return std::make_unique<Communicator>(plugin_transport(library, name_of(engine)), options);
}

}  // namespace octavo
