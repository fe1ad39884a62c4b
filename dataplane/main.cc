// viaduct-dataplane: options, EAL, workers and the API, put together and taken apart in order.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"
#include "viaduct/log.h"

#include "api/api.h"
#include "api/telemetry.h"
#include "dataplane.h"
#include "eal.h"
#include "flow/flow_memory.h"
#include "options.h"
#include "port/factory.h"

namespace {

using namespace viaduct;
using namespace viaduct::dataplane;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{100};
/// A transaction may take long (interfaces in namespaces); those who read the state meanwhile have threads
/// left.
constexpr unsigned kApiThreads = 4;

/// Blocked in every thread, read as a descriptor by the main loop.
http::Descriptor signal_descriptor() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP})
        ::sigaddset(&signals, number);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    http::Descriptor descriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!descriptor.valid()) throw std::runtime_error(std::string("no signalfd: ") + std::strerror(errno));
    return descriptor;
}

/// Holds the API socket's name for this process before anything is started that a second one would disturb.
/// An abstract socket goes with its process, however that ends, and leaves no file behind. A process that was
/// just killed takes its time to end, so one that has the name is given a second.
http::Descriptor claim(const std::string& api_socket) {
    http::Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto path = std::filesystem::absolute(api_socket).lexically_normal().string();
    const auto name = "viaduct:" + std::to_string(std::hash<std::string>{}(path));
    std::copy(name.begin(), name.end(), address.sun_path + 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const auto deadline = Clock::now() + std::chrono::seconds(1);
    while (::bind(descriptor.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
        if (errno != EADDRINUSE)
            throw std::runtime_error(std::string("no Unix socket can be made: ") + std::strerror(errno));
        if (Clock::now() > deadline) {
            throw std::runtime_error(
                "another viaduct-dataplane serves " + api_socket +
                "; stop it, or give this one an --api-socket and a --file-prefix of its own");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return descriptor;
}

void make_directory(const std::filesystem::path& directory) {
    std::error_code error;
    if (directory.empty() || std::filesystem::is_directory(directory, error)) return;
    make_directory(directory.parent_path());
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
        throw std::runtime_error("cannot make the directory " + directory.string() + ": " +
                                 std::strerror(errno));
    }
    ::chmod(directory.c_str(), 0755);
}

/// Workers' caches and hand-off rings alone may need more buffers than there are.
void check_buffers(const Dataplane& dataplane) {
    const auto buffers = dataplane.buffers();
    if (buffers.reserved < buffers.total) return;
    throw Refused("--packet-buffers", "is " + std::to_string(buffers.total) +
                                          "; the workers alone may hold " + std::to_string(buffers.reserved) +
                                          ", and ports need theirs besides");
}

/// What the dataplane before this one left, or memory for new flows.
std::shared_ptr<FlowMemory> flow_memory(const Options& options) {
    return std::make_shared<FlowMemory>(
        FlowMemoryOptions{.path = options.flow_file, .entries4 = options.flows, .entries6 = options.flows6});
}

/// Slow work until a signal comes.
void serve(int signals, Dataplane& dataplane) {
    std::uint64_t watchdog = 0;
    const bool watched = ::sd_watchdog_enabled(0, &watchdog) > 0;
    auto next = Clock::now();
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
        std::array<pollfd, 2> waiting{{{signals, POLLIN, 0}, {dataplane.change_descriptor(), POLLIN, 0}}};
        ::poll(waiting.data(), waiting.size(),
               static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0})));
        if (signalfd_siginfo signal{}; ::read(signals, &signal, sizeof signal) == sizeof signal) {
            return spdlog::info("ending: got signal {}", ::strsignal(static_cast<int>(signal.ssi_signo)));
        }
        dataplane.tick();
        if (const auto now = Clock::now(); now >= next) {
            next = now + kTick;
            if (watched) ::sd_notify(0, "WATCHDOG=1");
        }
    }
}

void run(Options options, int signals) {
    make_directory(std::filesystem::path(options.api_socket).parent_path());
    const auto claimed = claim(options.api_socket);
    const auto began = Clock::now();
    const auto huge_free = huge_bytes_free();
    choose_huge_pages(options, huge_free);
    choose_flow_file(options, huge_free, flow_memory_bytes(options.flows, options.flows6));
    for (const auto& warning : options.warnings)
        spdlog::warn("{}", warning);
    const Eal eal(options);
    auto identity = make_identity();
    identity.huge_pages = options.huge_pages;
    identity.memory_mb = options.memory_mb;
    identity.flows = options.flows;
    identity.flows6 = options.flows6;
    identity.poll = options.poll;
    identity.worker_cpus = options.worker_cpus;

    DataplaneOptions wanted;
    wanted.worker_lcores = eal.worker_lcores();
    wanted.packet_buffers = options.packet_buffers;
    wanted.poll = options.poll;
    wanted.make_port = make_port_factory();
    wanted.flow_memory = flow_memory(options);
    Dataplane dataplane(std::move(wanted));
    check_buffers(dataplane);
    const Telemetry telemetry(identity, dataplane);
    Api api(identity, dataplane);
    const http::Server server({.path = options.api_socket, .threads = kApiThreads},
                              [&api](http::Request& request) { return api.answer(request); });
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    spdlog::info(
        "viaduct-dataplane {} serves {}, workers on CPUs {}, {} MB{}; started in {} ms as instance {}",
        VIADUCT_VERSION, options.api_socket, cpus_text(options.worker_cpus), options.memory_mb,
        options.huge_pages ? " of huge pages" : "", took.count(), identity.instance);
    ::sd_notify(0, "READY=1\nSTATUS=forwarding");
    serve(signals, dataplane);
    ::sd_notify(0, "STOPPING=1");
}

}  // namespace

int main(int argc, char** argv) {
    std::optional<Options> options;
    try {
        options = read_options(argc, argv, this_machine());
    } catch (const std::exception& error) {
        std::cerr << "viaduct-dataplane: " << error.what() << "\n";
        return 2;
    }
    if (!options) return 0;
    try {
        log::start("viaduct-dataplane", options->log_level);
        const auto signals = signal_descriptor();
        run(*options, signals.get());
        spdlog::info("ended");
        return 0;
    } catch (const Refused& refused) {
        spdlog::critical("{}", refused.what());
        return 2;
    } catch (const std::exception& error) {
        spdlog::critical("{}", error.what());
        return 1;
    }
}
