// The node under the cases of services.
#include "service_node.h"

#include <sstream>
#include <stdexcept>

#include "kubernetes/reader.h"
#include "store/config_history.h"

namespace viaduct::test {

namespace {

const char* const kInside = "02:00:00:00:01:01";   // the router's, on each side
const char* const kOutside = "02:00:00:00:02:01";  // and the host's
const char* const kElsewhere = "02:00:00:00:02:02";
const char* const kWorld = "02:00:00:00:02:fe";
constexpr unsigned kFirstPod = 2;
constexpr unsigned kLastPod = 30;

IpAddress ip(const std::string& text) {
    const auto address = IpAddress::parse(text);
    if (!address) throw std::runtime_error("\"" + text + "\" is no address");
    return *address;
}

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

std::string pod_mac(unsigned last) {
    constexpr const char* kDigits = "0123456789abcdef";
    return std::string("02:00:00:00:01:") + kDigits[last / 16] + kDigits[last % 16];
}

std::string pod_port(unsigned last) {
    return "pod-" + std::to_string(last);
}

bool is_pod(const IpAddress& address) {
    return prefix("10.0.0.0/24").contains(address) || prefix("fd00::/64").contains(address);
}

bool is_elsewhere(const IpAddress& address) {
    return prefix("10.1.0.0/24").contains(address) || prefix("fd00:1::/64").contains(address);
}

service::Settings settings_of(const CaseNode& config) {
    service::Settings settings;
    settings.node_name = config.name;
    settings.ranges = config.ranges;
    settings.node_port_networks = config.node_port_networks;
    settings.always_claims = true;
    return settings;
}

std::vector<store::Migration> all_migrations() {
    auto all = store::config_migrations();
    const auto& services = service::migrations();
    all.insert(all.end(), services.begin(), services.end());
    return all;
}

void add_port(model::Config& config, const std::string& name, model::PortKind kind, const char* bridge) {
    auto& port = config.ports[name];
    port.name = name;
    port.kind = kind;
    port.bridge = bridge;
    if (kind == model::PortKind::tap) port.tap.ifname = name;
    if (kind == model::PortKind::uplink) port.uplink.device = "net_null0";
}

void add_neighbour(model::Config& config, const char* interface, const IpAddress& address,
                   const std::string& mac, const std::string& port) {
    const model::Neighbour neighbour{interface, address, MacAddress::parse(mac).value()};
    config.neighbours[neighbour.key()] = neighbour;
    const model::FdbEntry entry{interface, 0, neighbour.mac, port, {}};
    config.fdb[entry.key()] = entry;
}

void add_route(model::Config& config, const char* to, const char* via) {
    model::Route route;
    route.prefix = prefix(to);
    route.next_hops = {{ip(via), "outside", 1}};
    config.routes[route.key()] = route;
}

model::Config network_of(const CaseNode& node) {
    model::Config config;
    for (const auto* name : {"inside", "outside"}) {
        config.bridges[name].name = name;
        config.interfaces[name].name = config.interfaces[name].bridge = name;
    }
    add_port(config, "up", model::PortKind::uplink, "outside");
    add_port(config, "host", model::PortKind::tap, "outside");
    config.ports["host"].host = "outside";
    config.interfaces["inside"].mac = MacAddress::parse(kInside);
    config.interfaces["outside"].mac = MacAddress::parse(kOutside);
    config.interfaces["inside"].addresses = {prefix("10.0.0.1/24"), prefix("fd00::1/64")};
    config.interfaces["outside"].addresses = node.addresses;
    for (unsigned last = kFirstPod; last <= kLastPod; ++last) {
        add_port(config, pod_port(last), model::PortKind::tap, "inside");
        add_neighbour(config, "inside", *ip("10.0.0.0").plus(last), pod_mac(last), pod_port(last));
        add_neighbour(config, "inside", *ip("fd00::").plus(last), pod_mac(last), pod_port(last));
    }
    add_neighbour(config, "outside", ip("192.0.2.2"), kElsewhere, "up");
    add_neighbour(config, "outside", ip("2001:db8::2"), kElsewhere, "up");
    add_neighbour(config, "outside", ip("192.0.2.254"), kWorld, "up");
    add_neighbour(config, "outside", ip("2001:db8::fe"), kWorld, "up");
    add_route(config, "10.1.0.0/24", "192.0.2.2");
    add_route(config, "fd00:1::/64", "2001:db8::2");
    add_route(config, "0.0.0.0/0", "192.0.2.254");
    add_route(config, "::/0", "2001:db8::fe");
    return config;
}

service::AttachedPods pods_of(const CaseNode& node) {
    service::AttachedPods pods;
    for (const auto& [name, addresses] : node.pods) {
        const auto slash = name.find('/');
        if (slash == std::string::npos) throw std::runtime_error("pod \"" + name + "\" has no namespace");
        pods[{name.substr(0, slash), name.substr(slash + 1)}].addresses = addresses;
    }
    return pods;
}

/// The number that stands behind the transport's header.
std::optional<std::uint32_t> number_in(const Bytes& packet, std::size_t behind) {
    if (packet.size() < behind) return std::nullopt;
    const auto at = packet.size() - behind;
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i)
        number = number << 8 | packet[at + i];
    return number;
}

constexpr std::size_t kPayload = 18;

Seen seen_of(const std::string& port, const Bytes& frame) {
    Seen seen;
    seen.port = port;
    seen.line = describe(frame);
    std::istringstream words(seen.line);
    std::string protocol;
    std::string arrow;
    words >> protocol >> seen.source >> arrow >> seen.destination;
    const auto packet = ip_of(frame);
    const std::size_t transport = packet.at(0) >> 4 == 4 ? 20 : 40;
    if (protocol == "tcp") seen.tcp_flags = packet.at(transport + 13);
    const bool reset = (seen.tcp_flags & 0x04) != 0;
    if ((protocol == "tcp" && !reset) || protocol == "udp" || protocol == "sctp")
        seen.number = number_in(packet, kPayload);
    return seen;
}

}  // namespace

std::string place_text(const std::string& address, std::uint16_t port) {
    const bool v6 = address.find(':') != std::string::npos;
    return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::pair<std::string, std::uint16_t> place_from(const std::string& text) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0)
        throw std::runtime_error("\"" + text + "\" is no place; 10.0.0.2:80 or [fd00::2]:80 is right");
    auto address = text.substr(0, colon);
    if (address.front() == '[') address = address.substr(1, address.size() - 2);
    static_cast<void>(ip(address));
    return {address, static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)))};
}

ServiceNode::ServiceNode(const CaseNode& config)
    : config_(config),
      api_(dataplane::make_identity(), bench_.dataplane()),
      server_(std::in_place, http::ServerOptions{.path = directory_.file("dataplane.sock"), .threads = 2},
              [this](http::Request& request) { return api_.answer(request); }),
      database_(directory_.file("v.db"), all_migrations()),
      services_(settings_of(config), database_, &merged_),
      reconciler_({.dataplane_socket = directory_.file("dataplane.sock")}, database_,
                  {&configuration_, &services_}),
      changes_(database_, reconciler_) {
    services_.use(reconciler_, [this] { return pods_of(config_); });
    reconciler_.start();
    if (!eventually([&] { return reconciler_.status().in_sync; }))
        throw std::runtime_error("control does not find its dataplane");
    model::Change change;
    change.put = network_of(config);
    const auto outcome = changes_.change(change, false, "");
    if (!outcome.applied) throw std::runtime_error("the network does not come into force: " + outcome.note);
    services_.start({});
    if (!config.zone.empty()) {
        apply("apiVersion: v1\nkind: Node\nmetadata: {name: " + config.name +
              ", labels: {topology.kubernetes.io/zone: " + config.zone + "}}\n" +
              "status: {conditions: [{type: Ready, status: \"True\"}]}\n");
    }
}

ServiceNode::~ServiceNode() {
    services_.stop();
    reconciler_.stop();
    server_.reset();
}

void ServiceNode::apply(const std::string& manifests, const std::vector<std::string>& remove) {
    const auto read = kubernetes::read_documents(manifests, "manifests");
    if (!read.faults.empty()) throw std::runtime_error(to_string(read.faults.front()));
    if (read.passed_over != 0) throw std::runtime_error("a manifest is of a kind that is not read");
    for (const auto& name : remove) {
        const auto found = std::ranges::find_if(
            documents_, [&](const auto& entry) { return to_string(entry.first) == name; });
        if (found == documents_.end()) throw std::runtime_error("there is no " + name + " to be removed");
        for (const auto& object : found->second.objects)
            kubernetes::erase(objects_, object);
        documents_.erase(found);
    }
    for (const auto& document : read.documents) {
        auto& before = documents_[document.id];
        for (const auto& object : before.objects)
            kubernetes::erase(objects_, object);
        before = document;
        for (const auto& object : document.objects)
            kubernetes::put(objects_, object);
    }
    told_.tell(objects_);
    wait_until_in_force();
}

void ServiceNode::wait_until_in_force() {
    const auto in_force = [&] {
        const auto view = services_.view();
        return view.snapshot != nullptr && view.snapshot->objects == objects_ &&
               reconciler_.status().in_sync && bench_.dataplane().config().services == view.compiled;
    };
    if (eventually(in_force)) return;
    std::string why;
    for (const auto& [object, reason] : reconciler_.status().left_out)
        why += "; " + object + " " + reason;
    throw std::runtime_error("what the manifests say does not come into force" + why);
}

std::string ServiceNode::port_of(const std::string& text) const {
    if (is_own(text)) return "host";
    const auto address = ip(text);
    return is_pod(address) ? pod_port(address.bytes().back()) : "up";
}

bool ServiceNode::is_own(const std::string& text) const {
    const auto address = ip(text);
    return address.is_loopback() || address == ip("10.0.0.1") || address == ip("fd00::1") ||
           std::ranges::any_of(config_.addresses, [&](const Prefix& own) { return own.address == address; });
}

Bytes ServiceNode::frame_of(const Sent& sent) const {
    auto packet = sent.packet;
    packet.inside.assign(kPayload, 0);
    for (std::size_t i = 0; i < 4; ++i)
        packet.inside[i] = static_cast<std::uint8_t>(sent.number >> (24 - 8 * i));
    const auto source = ip(packet.source);
    const auto port = port_of(packet.source);
    if (is_pod(source) && !is_own(packet.source)) {
        // Pods know their bridge: what is for another pod goes to its own station.
        const auto to = ip(packet.destination);
        const bool by_bridge = is_pod(to) && !is_own(packet.destination);
        return routed(packet, by_bridge ? pod_mac(to.bytes().back()) : kInside,
                      pod_mac(source.bytes().back()));
    }
    if (port == "host") {
        // By the host's routes: to pods and services by the router, to all others by the link's.
        const auto to = ip(packet.destination);
        const bool beyond =
            !is_pod(to) && !is_elsewhere(to) && !to.is_loopback() &&
            (prefix("198.51.100.0/24").contains(to) || prefix("2001:db8:1::/64").contains(to));
        return routed(packet, beyond ? kWorld : kOutside, kOutside);
    }
    return routed(packet, kOutside, is_elsewhere(source) ? kElsewhere : kWorld);
}

std::vector<Seen> ServiceNode::exchange(const std::vector<Sent>& packets) {
    constexpr std::size_t kAtOnce = 64;
    std::vector<Seen> all;
    for (std::size_t from = 0; from < packets.size(); from += kAtOnce) {
        for (auto i = from; i < std::min(from + kAtOnce, packets.size()); ++i)
            bench_.inject(port_of(packets[i].packet.source), frame_of(packets[i]));
        bench_.settle();
        for (const auto& state : bench_.dataplane().ports()) {
            const auto& port = state.port.name;
            for (const auto& frame : bench_.wire(port).collect_bytes(0)) {
                auto seen = seen_of(port, frame);
                // What the router says of itself at its own times.
                if (seen.line == "arp" || seen.line.find(" type 13") != std::string::npos) continue;
                all.push_back(std::move(seen));
            }
        }
    }
    return all;
}

}  // namespace viaduct::test
