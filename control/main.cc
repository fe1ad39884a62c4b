// viaduct-control: options, the store, the reconciler and the API, put together and taken apart in order.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <boost/program_options.hpp>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"
#include "viaduct/log.h"
#include "viaduct/options.h"

#include "api/config_routes.h"
#include "api/router.h"
#include "api/state_routes.h"
#include "docker/plugin.h"
#include "host/absent.h"
#include "host/routes.h"
#include "host/shares.h"
#include "host/taken.h"
#include "ipam/leases.h"
#include "network/networks.h"
#include "network/routes.h"
#include "node/tap_link.h"
#include "pod/attachments.h"
#include "pod/routes.h"
#include "reconcile/config_changes.h"
#include "reconcile/reconciler.h"
#include "service/endpoint_routes.h"
#include "service/manifest_routes.h"
#include "service/routes.h"
#include "service/services.h"
#include "source/applied.h"
#include "source/directory.h"
#include "source/kept.h"
#include "source/merged.h"
#include "store/config_history.h"
#include "store/database.h"
#include "uplink/routes.h"
#include "uplink/uplinks.h"

namespace {

using namespace viaduct;
namespace po = boost::program_options;

constexpr const char* kUsage =
    "viaduct-control: keeps the desired state of this node's network and brings the dataplane to it\n"
    "\n"
    "Usage: viaduct-control [OPTION...]\n";

constexpr const char* kExamples =
    "Examples:\n"
    "  viaduct-control                                  as the systemd unit starts it\n"
    "  viaduct-control --config /etc/viaduct/control.json\n"
    "  viaduct-control --store /tmp/v/viaduct.db --run-dir /tmp/v --api-socket /tmp/v/control.sock \\\n"
    "                  --dataplane-socket /tmp/v/dataplane.sock --log-level debug\n"
    "\n"
    "The API is HTTP and JSON on the API socket:\n"
    "  curl --unix-socket /run/viaduct/control.sock http://viaduct/v1/health\n";

/// Requests may wait for the dataplane: a burst of 64 ADDs at once must leave threads for those who ask how
/// it goes.
constexpr unsigned kApiThreads = 80;

/// How long the dataplane keeps what it has while manifests are read for the first time.
constexpr std::chrono::seconds kServicesPatience{30};
/// How long a change of labels waits until services know of it.
constexpr std::chrono::seconds kServicesSettle{10};

struct Settings {
    std::string api_socket;
    std::string dataplane_socket;
    std::string store;
    std::string run_dir;
    std::string docker_socket;
    std::string manifests;
    std::string service_range;
    std::string node_port_range;
    std::string node_port_addresses;
    std::string node_name;
    unsigned reconcile_seconds = 0;
    std::string log_level;
};

/// False when the program was only asked for its help or version.
bool read_settings(int argc, char** argv, Settings& settings) {
    po::options_description described("Options", 110);
    const auto text = [](std::string& into, const char* value, const char* name) {
        return po::value(&into)->default_value(value)->value_name(name);
    };
    described.add_options()("api-socket", text(settings.api_socket, "/run/viaduct/control.sock", "PATH"),
                            "Unix socket of this program's API, at most 107 bytes")(
        "dataplane-socket", text(settings.dataplane_socket, "/run/viaduct/dataplane.sock", "PATH"),
        "Unix socket of the dataplane's API")(
        "store", text(settings.store, "/var/lib/viaduct/viaduct.db", "FILE"),
        "the durable state, an SQLite file; its directory is made with mode 0700")(
        "run-dir", text(settings.run_dir, "/run/viaduct", "DIRECTORY"),
        "where pods' directories and sockets are made; made with mode 0755")(
        "docker-socket", text(settings.docker_socket, "", "PATH"),
        "Unix socket of Docker's plugin, which gives Docker the network and IPAM driver \"viaduct\": "
        "/run/docker/plugins/viaduct.sock; its directory is made; default none")(
        "manifests", text(settings.manifests, "", "DIRECTORY"),
        "Kubernetes manifests of services, endpoints, pods and nodes (*.yaml, *.yml, *.json), which are "
        "followed as they change, and come before what \"viaduct apply\" puts; default none")(
        "service-range", text(settings.service_range, "10.96.0.0/12,fd00:96::/108", "NETWORK[,NETWORK]"),
        "where ClusterIPs are allocated, one network a family, the preferred family first; no other network "
        "may overlap it")("node-port-range", text(settings.node_port_range, "30000-32767", "FIRST-LAST"),
                          "where node ports are allocated")(
        "node-port-addresses", text(settings.node_port_addresses, "", "NETWORK[,NETWORK...]"),
        "at which of the node's addresses node ports are found; default those of interfaces that lead out")(
        "node-name", text(settings.node_name, "", "NAME"),
        "this node, as endpoints name it; default its host name")(
        "reconcile-seconds", po::value(&settings.reconcile_seconds)->default_value(30)->value_name("SECONDS"),
        "seconds between comparisons with the dataplane when nothing happens, 1 to 86400")(
        "log-level", text(settings.log_level, "info", "LEVEL"),
        "trace, debug, info, warning, error, critical or off; changed at run time with \"viaduct log "
        "level\"");
    po::variables_map values;
    if (!options::read(argc, argv, kUsage, kExamples, described, values)) return false;
    if (settings.reconcile_seconds < 1 || settings.reconcile_seconds > 86400) {
        throw Refused("--reconcile-seconds", "must be from 1 to 86400");
    }
    return true;
}

std::vector<Prefix> read_networks(const std::string& option, const std::string& text) {
    std::vector<Prefix> networks;
    for (std::size_t start = 0; start < text.size();) {
        const auto end = std::min(text.find(',', start), text.size());
        const auto one = text.substr(start, end - start);
        const auto network = Prefix::parse(one);
        if (!network || network->network() != network->address)
            throw Refused(option, "holds \"" + one + "\", which is no network such as 10.96.0.0/12");
        networks.push_back(*network);
        start = end + 1;
    }
    return networks;
}

service::Settings service_settings(const Settings& settings) {
    service::Settings made;
    made.ranges = read_networks("--service-range", settings.service_range);
    if (made.ranges.size() > 2 ||
        (made.ranges.size() == 2 && made.ranges[0].address.is_v4() == made.ranges[1].address.is_v4()))
        throw Refused("--service-range", "may hold one network of each family");
    made.node_port_networks = read_networks("--node-port-addresses", settings.node_port_addresses);
    const auto& range = settings.node_port_range;
    const auto* const end = range.data() + range.size();
    const auto first = std::from_chars(range.data(), end, made.node_port_first);
    const bool dash = first.ec == std::errc() && first.ptr != end && *first.ptr == '-';
    const auto last = std::from_chars(dash ? first.ptr + 1 : end, end, made.node_port_last);
    if (last.ec != std::errc() || last.ptr != end || made.node_port_first == 0 ||
        made.node_port_last < made.node_port_first)
        throw Refused("--node-port-range", "is \"" + range + "\", and must be such as 30000-32767");
    made.always_claims = !settings.manifests.empty();
    made.node_name = settings.node_name;
    if (made.node_name.empty()) {
        std::array<char, 256> name{};
        ::gethostname(name.data(), name.size() - 1);
        made.node_name = name.data();
    }
    return made;
}

service::AttachedPods attached_pods(const pod::Attachments& attachments) {
    service::AttachedPods pods;
    for (auto& [name, pod] : attachments.pods())
        pods[{name.namespace_, name.name}] = {pod.addresses, pod.labels};
    return pods;
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

std::vector<store::Migration> all_migrations() {
    std::vector<store::Migration> all = store::config_migrations();
    for (const auto* more :
         {&ipam::migrations(), &pod::migrations(), &host::migrations(), &service::migrations(),
          &network::migrations(), &docker::migrations(), &uplink::migrations(), &source::migrations()})
        all.insert(all.end(), more->begin(), more->end());
    return all;
}

/// Waits for SIGTERM or SIGINT, meanwhile telling systemd how things stand.
void serve_until_signal(const sigset_t& signals, const reconcile::Reconciler& reconciler,
                        uplink::Uplinks& uplinks) {
    std::string told;
    std::uint64_t watchdog = 0;
    const bool watched = ::sd_watchdog_enabled(0, &watchdog) > 0;
    const timespec pause{1, 0};
    for (;;) {
        const auto status = reconciler.status();
        std::string text = "dataplane away: " + status.reason;
        if (status.connected) {
            text = status.in_sync ? "dataplane in sync"
                                  : "dataplane connected, " + std::to_string(status.left_out.size()) +
                                        " objects left out";
        }
        if (text != told) ::sd_notifyf(0, "STATUS=%s", text.c_str());
        told = text;
        if (watched) ::sd_notify(0, "WATCHDOG=1");
        const int number = ::sigtimedwait(&signals, nullptr, &pause);
        try {
            uplinks.keep();
        } catch (const std::exception& error) {
            spdlog::error("devices are not looked after: {}", error.what());
        }
        if (number > 0) return spdlog::info("ending: got signal {}", ::strsignal(number));
    }
}

/// Nobody tells when a container ends that was attached by hand, or when an engine has moved an interface.
void look_after(const std::stop_token& stopping, pod::Attachments& attachments) {
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock(mutex);
    while (
        !ended.wait_for(lock, stopping, std::chrono::seconds(1), [&] { return stopping.stop_requested(); })) {
        try {
            attachments.collect_vanished();
            attachments.follow_moves();
        } catch (const std::exception& error) {
            spdlog::error("looking after attachments: {}", error.what());
        }
    }
}

/// What the directory of manifests said last.
struct KeptManifests {
    store::Database database;
    source::Kept kept;
    explicit KeptManifests(const Settings& settings)
        : database(std::filesystem::path(settings.store).replace_extension("manifests.db"),
                   source::Kept::migrations()),
          kept(database, settings.manifests) {}
};

/// A copy that is damaged keeps nobody from starting. Null: there is none.
std::unique_ptr<KeptManifests> keep_manifests(const Settings& settings) {
    if (settings.manifests.empty()) return nullptr;
    try {
        return std::make_unique<KeptManifests>(settings);
    } catch (const store::Error& error) {
        spdlog::error(
            "what {} says is in force, and not kept for a start without it: {}; take that file away and "
            "start again, and it is kept anew",
            settings.manifests, error.what());
        return nullptr;
    }
}

void run(const Settings& settings, const sigset_t& signals) {
    make_directory(settings.run_dir);
    make_directory(std::filesystem::path(settings.api_socket).parent_path());
    store::Database database(settings.store, all_migrations());

    const reconcile::ConfigSource config_source(database, node::set_link);
    pod::Options pod_options;
    pod_options.run_dir = settings.run_dir;
    network::Networks networks(database);
    const network::Together not_pods(config_source, networks);
    pod::Attachments attachments(pod_options, database, not_pods);
    attachments.recover();
    host::Absent absent;
    const auto kept = keep_manifests(settings);
    std::optional<source::Directory> directory;
    source::Applied applied(database);
    std::vector<source::Source*> sources;
    if (!settings.manifests.empty()) {
        sources.push_back(&directory.emplace(source::DirectoryOptions{.path = settings.manifests},
                                             kept == nullptr ? nullptr : &kept->kept));
    }
    sources.push_back(&applied);
    source::Merged manifests(sources);
    service::Services services(service_settings(settings), database, &manifests);
    reconcile::Options reconcile_options;
    reconcile_options.dataplane_socket = settings.dataplane_socket;
    reconcile_options.every = std::chrono::seconds(settings.reconcile_seconds);
    reconcile::Reconciler reconciler(reconcile_options, database,
                                     {&config_source, &networks, &attachments, &services, &absent});
    reconcile::ConfigChanges changes(database, reconciler, node::set_link);

    attachments.use(reconciler);
    services.use(reconciler, [&] { return attached_pods(attachments); });
    attachments.on_change([&] { services.wake(); });
    networks.use(reconciler, attachments);
    uplink::Uplinks uplinks(node::host_tree(), database, changes);
    uplinks.recover();
    host::Shares shares(reconciler);
    host::Taken taken(settings.run_dir, database, reconciler, changes, shares, absent);
    taken.recover();
    /// However this ends: nobody is told of changes who is not there any more.
    const struct StopFirst {
        reconcile::Reconciler& reconciler;
        service::Services& services;
        ~StopFirst() {
            services.stop();
            reconciler.stop();
        }
    } stop_first{reconciler, services};
    reconciler.on_change([&] {
        shares.wake();
        services.wake();
    });
    shares.before_each([&] { return taken.follow_kernel(); });

    api::Router router;
    api::add_config_routes(router, database, reconciler, changes);
    api::add_state_routes(router, settings.dataplane_socket);
    api::add_service_routes(router, settings.dataplane_socket, database, reconciler);
    pod::register_routes(router, attachments, [&] { services.settle(kServicesSettle); });
    network::register_routes(router, networks, attachments);
    host::register_routes(router, taken);
    uplink::add_routes(router, uplinks, database);
    service::register_routes(router, services, settings.dataplane_socket);
    service::add_endpoint_routes(router, services, settings.dataplane_socket);
    service::add_manifest_routes(router, {applied, manifests, services, reconciler, database});

    shares.start();
    taken.start();
    services.start(kServicesPatience);
    reconciler.start();
    const std::jthread looking_after(
        [&](const std::stop_token& stopping) { look_after(stopping, attachments); });
    std::optional<docker::Plugin> docker;
    if (!settings.docker_socket.empty()) {
        make_directory(std::filesystem::path(settings.docker_socket).parent_path());
        docker.emplace(settings.docker_socket, database, networks, attachments);
    }
    const http::Server server({.path = settings.api_socket, .threads = kApiThreads},
                              [&](http::Request& request) { return router.route(request); });
    spdlog::info("viaduct-control {} serves {}, store {}", VIADUCT_VERSION, settings.api_socket,
                 settings.store);
    ::sd_notify(0, "READY=1");
    serve_until_signal(signals, reconciler, uplinks);
    ::sd_notify(0, "STOPPING=1");
    // Requests that wait for services wait for nothing any more.
    services.stop();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        Settings settings;
        if (!read_settings(argc, argv, settings)) return 0;
        // Blocked before any thread starts, so that only the main thread takes them.
        sigset_t signals;
        ::sigemptyset(&signals);
        ::sigaddset(&signals, SIGTERM);
        ::sigaddset(&signals, SIGINT);
        ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
        log::start("viaduct-control", settings.log_level);
        run(settings, signals);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "viaduct-control: " << error.what() << "\n";
        return 1;
    }
}
