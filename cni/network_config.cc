#include "network_config.h"

#include <algorithm>
#include <cctype>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/labels.h"

#include "bridge_keys.h"
#include "error.h"
#include "ipam_config.h"

namespace viaduct::cni {

using attachment::Request;
using Keys = ObjectReader::Keys;

const std::vector<std::string>& versions() {
    static const std::vector<std::string> known{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
    return known;
}

bool at_least(const std::string& version, const std::string& other) {
    const auto place = [](const std::string& v) {
        return std::find(versions().begin(), versions().end(), v);
    };
    return place(version) >= place(other);
}

namespace {

std::string read_version(ObjectReader& reader, Faults& faults) {
    const auto version = reader.string("cniVersion", 64);
    if (!faults.empty()) throw Error(attachment::kDecoding, faults);
    // A configuration without one is from the time before there were any.
    auto asked = version.value_or("0.1.0");
    if (std::find(versions().begin(), versions().end(), asked) != versions().end()) return asked;
    std::string known;
    for (const auto& one : versions())
        known += (known.empty() ? "" : ", ") + one;
    throw Error(attachment::kIncompatibleVersion,
                "cniVersion \"" + asked + "\" is not supported; supported are " + known);
}

void read_ipam_type(ObjectReader& reader, NetworkConfig& network, Faults& faults) {
    const auto* ipam = reader.object("ipam");
    if (ipam == nullptr) return;
    ObjectReader inner(*ipam, "ipam", faults, Keys::any_case);
    network.ipam_type = inner.string("type", 255).value_or("");
    if (network.ipam_type.empty()) {
        if (!ipam->empty()) inner.fault("type", "is required: \"viaduct\", or the name of an IPAM plugin");
        return;
    }
    network.ipam = network.ipam_type == "viaduct" ? Ipam::builtin : Ipam::delegated;
    if (network.ipam_type.find('/') != std::string::npos || network.ipam_type == "." ||
        network.ipam_type == "..") {
        inner.fault("type",
                    "is \"" + network.ipam_type + "\", and must be the name of a plugin, without '/'");
    }
}

void read_valid(ObjectReader& reader, NetworkConfig& network, Faults& faults) {
    const auto* later = reader.array("cni.dev/valid-attachments");
    const auto* list = reader.array("cni.dev/attachments");
    if (later != nullptr) list = later;
    if (list == nullptr) return;
    network.valid.emplace();
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        ObjectReader one((*list)[i], "cni.dev/valid-attachments/" + std::to_string(i), faults,
                         Keys::any_case);
        const auto container = one.string("containerID");
        const auto ifname = one.string("ifname");
        // A list that is only half understood would take living pods away.
        if (!container || !ifname) one.fault("containerID", "and ifname are required");
        network.valid->emplace_back(container.value_or(""), ifname.value_or(""));
    }
}

void read_basics(ObjectReader& reader, NetworkConfig& network) {
    network.name = reader.string("name").value_or("");
    if (network.name.empty()) {
        reader.fault("name", "is required: the network's name");
    } else if (!attachment::is_identifier(network.name) || network.name.size() > attachment::kNetworkMost) {
        reader.fault("name",
                     "must begin with a letter or digit and hold only those, '_', '.' and '-', at most " +
                         std::to_string(attachment::kNetworkMost) + " of them");
    }
    if (const auto path = reader.string("controlSocket"); path && !path->empty()) {
        network.control_socket = *path;
        if ((*path)[0] != '/' || path->size() > model::kSocketPathMost) {
            reader.fault("controlSocket", "must be an absolute path of at most 107 bytes");
        }
    }
    network.previous = reader.object("prevResult");
}

}  // namespace

NetworkConfig read_network(const std::string& text, std::string& version) {
    NetworkConfig network;
    network.text = text;
    try {
        network.json = std::make_shared<const Json::Value>(
            parse_json(text, "the network configuration on standard input", {kInputMost, 32}));
    } catch (const Refused& refused) {
        throw Error(attachment::kDecoding, refused.faults());
    }
    Faults faults;
    ObjectReader reader(*network.json, "", faults, Keys::any_case);
    if (!faults.empty()) {
        throw Error(attachment::kDecoding, "the network configuration on standard input " + faults[0].reason);
    }
    network.version = read_version(reader, faults);
    version = network.version;
    read_basics(reader, network);
    read_ipam_type(reader, network, faults);
    read_valid(reader, network, faults);
    if (!faults.empty()) throw Error(attachment::kInvalidConfig, faults);
    return network;
}

namespace {

/// What has been asked for in one of several places.
struct Wanted {
    std::vector<IpAddress> ips;
    std::optional<MacAddress> mac;

    void add(const IpAddress& ip) {
        if (std::find(ips.begin(), ips.end(), ip) == ips.end()) ips.push_back(ip);
    }
};

void read_wanted(ObjectReader& reader, Wanted& wanted) {
    for (const auto& text :
         reader.strings("ips", attachment::kListMost).value_or(std::vector<std::string>{})) {
        const auto prefix = Prefix::parse(text);
        const auto ip = prefix ? std::optional(prefix->address) : IpAddress::parse(text);
        if (ip) {
            wanted.add(*ip);
        } else {
            reader.fault("ips", "holds \"" + text.substr(0, 64) + "\", which is not an IP address");
        }
    }
    const auto text = reader.string("mac", 64).value_or("");
    if (text.empty()) return;
    const auto mac = MacAddress::parse(text);
    if (mac && !mac->is_multicast() && !mac->is_zero()) {
        wanted.mac = mac;
    } else {
        reader.fault("mac", "is \"" + text + "\", which is not a unicast MAC address");
    }
}

/// Runtimes also name ports that are not published, with host port 0.
void read_port_mappings(const Json::Value& list, Request& request, std::vector<std::string>& unsupported,
                        Faults& faults) {
    for (Json::ArrayIndex i = 0; i < list.size(); ++i) {
        const auto place = "runtimeConfig/portMappings/" + std::to_string(i);
        ObjectReader reader(list[i], place, faults, Keys::any_case);
        attachment::PortMapping mapping;
        mapping.host_port = static_cast<std::uint16_t>(reader.integer("hostPort", 0, 65535).value_or(0));
        mapping.container_port =
            static_cast<std::uint16_t>(reader.integer("containerPort", 1, 65535).value_or(0));
        if (!reader.valid() || mapping.host_port == 0) continue;
        if (reader.member("containerPort") == nullptr)
            reader.fault("containerPort", "is required, from 1 to 65535");
        auto protocol = reader.string("protocol", 16).value_or("");
        std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        if (protocol == "udp") mapping.protocol = model::Transport::udp;
        if (protocol == "sctp") mapping.protocol = model::Transport::sctp;
        if (!protocol.empty() && protocol != model::to_string(mapping.protocol)) {
            unsupported.push_back("\"portMappings\": " + to_json_text(list[i]) +
                                  " is not supported: its protocol must be tcp, udp or sctp");
        }
        const auto host = reader.string("hostIP", 64).value_or("");
        mapping.host_address = IpAddress::parse(host);
        if (!host.empty() && !mapping.host_address) reader.fault("hostIP", "is not an IP address");
        // 0.0.0.0 and :: mean every address, as none does.
        if (mapping.host_address && mapping.host_address->is_unspecified()) mapping.host_address.reset();
        request.port_mappings.push_back(mapping);
    }
}

/// CNI's convention: rates in bits a second, bursts in bits, 0 for neither.
void read_limit(ObjectReader& reader, const std::string& way, model::RateLimit& limit) {
    const auto rate = way + "Rate";
    limit.rate = reader.integer(rate.c_str(), 0, model::kRateMost).value_or(0);
    if (limit.rate != 0 && limit.rate < model::kRateLeast)
        reader.fault(rate.c_str(), "is " + std::to_string(limit.rate) + " bits a second; the least is " +
                                       std::to_string(model::kRateLeast) + ", and 0 is no limit");
    // Runtimes that want no bound of their own say the largest 32-bit number, signed or not.
    const auto burst = reader.integer((way + "Burst").c_str(), 0, UINT64_MAX).value_or(0) / 8;
    limit.burst =
        limit.rate == 0 ? 0 : static_cast<std::uint32_t>(std::min<std::uint64_t>(burst, model::kBurstMost));
}

void read_bandwidth(const Json::Value& json, Request& request, Faults& faults) {
    ObjectReader reader(json, "runtimeConfig/bandwidth", faults, Keys::any_case);
    read_limit(reader, "ingress", request.ingress);
    read_limit(reader, "egress", request.egress);
}

attachment::Dns read_runtime_dns(const Json::Value& json, Faults& faults) {
    ObjectReader reader(json, "runtimeConfig/dns", faults, Keys::any_case);
    const std::vector<std::string> none;
    attachment::Dns dns;
    dns.nameservers = reader.strings("servers", attachment::kListMost).value_or(none);
    dns.search = reader.strings("searches", attachment::kListMost).value_or(none);
    dns.options = reader.strings("options", attachment::kListMost).value_or(none);
    return dns;
}

/// Where CRI runtimes put a pod's annotations, for plugins that declare this capability (containerd's
/// pkg/cri/annotations, CRI-O's ocicni), and the one of them that is ours.
constexpr const char* kAnnotations = "io.kubernetes.cri.pod-annotations";
constexpr const char* kLabelsAnnotation = "viaduct.io/labels";

void add_labels(Request& request, const Labels& labels) {
    for (const auto& [key, value] : labels)
        request.pod_labels[key] = value;
}

void read_annotations(ObjectReader& reader, Request& request, Faults& faults) {
    const auto* annotations = reader.object(kAnnotations);
    if (annotations == nullptr || !annotations->isMember(kLabelsAnnotation)) return;
    const auto& text = (*annotations)[kLabelsAnnotation];
    const std::string where = std::string("annotation ") + kLabelsAnnotation;
    if (!text.isString()) return faults.push_back({where, "must be text such as \"app=web,tier=front\""});
    add_labels(request, parse_labels(text.asString(), where, faults));
}

/// "labels": [{"key": "app", "value": "web"}] (CONVENTIONS.md, "args in network config").
void read_conventional_labels(ObjectReader& reader, Request& request, Faults& faults) {
    const auto* list = reader.array("labels", kLabelsMost);
    if (list == nullptr) return;
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        ObjectReader one((*list)[i], "args/cni/labels/" + std::to_string(i), faults, Keys::any_case);
        const auto key = one.string("key").value_or("");
        const auto value = one.string("value").value_or("");
        const auto fault = one.valid() ? label_fault(key, value) : std::string();
        if (!fault.empty()) {
            one.fault("key", fault);
        } else if (one.valid()) {
            request.pod_labels[key] = value;
        }
    }
}

void read_runtime_config(const Json::Value& json, Ipam ipam, Request& request, Wanted& wanted,
                         std::vector<std::string>& unsupported, Faults& faults) {
    ObjectReader reader(json, "runtimeConfig", faults, Keys::any_case);
    read_wanted(reader, wanted);
    if (const auto* list = reader.array("portMappings", attachment::kListMost))
        read_port_mappings(*list, request, unsupported, faults);
    if (const auto* limits = reader.object("bandwidth")) read_bandwidth(*limits, request, faults);
    if (const auto* dns = reader.object("dns")) {
        const auto given = read_runtime_dns(*dns, faults);
        if (!given.empty()) request.dns = given;
    }
    if (const auto* ranges = reader.array("ipRanges", attachment::kSetsMost);
        ranges != nullptr && ipam == Ipam::builtin) {
        read_ip_ranges(*ranges, "runtimeConfig/ipRanges", request, faults);
    }
    read_annotations(reader, request, faults);
    request.device_id = reader.string("deviceID").value_or("");
    const auto info = reader.string("CNIDeviceInfoFile").value_or("");
    if (!info.empty() && info[0] != '/') reader.fault("CNIDeviceInfoFile", "must be an absolute path");
    // A kernel interface needs no such description.
    if (request.interface == attachment::Interface::vhost_user) request.device_info_file = info;
}

std::optional<std::uint32_t> octal(const std::string& text) {
    if (text.empty() || text.size() > 5) return std::nullopt;
    std::uint32_t mode = 0;
    for (char c : text) {
        if (c < '0' || c > '7') return std::nullopt;
        mode = mode << 3U | static_cast<std::uint32_t>(c - '0');
    }
    return mode > 0777 ? std::nullopt : std::optional(mode);
}

void read_vhost_user(const Json::Value& json, Request& request, Faults& faults) {
    ObjectReader reader(json, "vhostUser", faults, Keys::any_case);
    auto& vhost = request.vhost;
    vhost.pod_listens = reader.choice("mode", {"server", "client"}).value_or(0) == 0;
    vhost.directory = reader.string("directory").value_or("");
    if (!vhost.directory.empty() && vhost.directory[0] != '/')
        reader.fault("directory", "must be an absolute path");
    vhost.owner = reader.string("owner", 64).value_or("");
    vhost.group = reader.string("group", 64).value_or("");
    if (const auto text = reader.string("permissions", 16)) {
        vhost.permissions = octal(*text);
        if (!vhost.permissions) reader.fault("permissions", "must be octal permissions such as \"0770\"");
    }
    for (const auto& key : reader.unread())
        request.unknown_keys.push_back("vhostUser/" + key);
}

void read_own_keys(ObjectReader& reader, Request& request, Faults& faults) {
    const auto interface = reader.choice("interface", {"tap", "vhost-user"}).value_or(0);
    request.interface = interface == 0 ? attachment::Interface::tap : attachment::Interface::vhost_user;
    request.queues = static_cast<std::uint16_t>(reader.integer("queues", 1, 16).value_or(1));
    request.wire = reader.boolean("wire").value_or(false);
    // The bridge plugin's word asks for a part of what is done unless it is turned off.
    const bool mac_alone = reader.boolean("macspoofchk").value_or(false);
    request.guarded = reader.boolean("antiSpoofing").value_or(true);
    request.isolated = reader.boolean("isolated").value_or(true);
    if (mac_alone && !request.guarded)
        reader.fault("antiSpoofing", "is false, and \"macspoofchk\" is true; leave one of them out");
    if (const auto* vhost = reader.object("vhostUser")) read_vhost_user(*vhost, request, faults);
    if (request.interface == attachment::Interface::tap) request.vhost = {};  // checked, and not needed
    // Read elsewhere, or a runtime's business.
    for (const char* key :
         {"cniVersion", "cniVersions", "name", "type", "controlSocket", "prevResult", "capabilities", "args",
          "runtimeConfig", "ipam", "dns", "disableCheck", "disableGC", "loadOnlyInlinedPlugins",
          "cni.dev/valid-attachments", "cni.dev/attachments"}) {
        reader.member(key);
    }
}

/// args.cni, and before it CNI_ARGS; runtimeConfig is read after both, and its MAC address wins.
void read_args(const Json::Value& json, Request& request, Wanted& wanted, Faults& faults) {
    ObjectReader reader(json, "args", faults, Keys::any_case);
    const auto* cni = reader.object("cni");
    if (cni == nullptr) return;
    ObjectReader inner(*cni, "args/cni", faults, Keys::any_case);
    read_wanted(inner, wanted);
    read_conventional_labels(inner, request, faults);
}

void check_addresses(const NetworkConfig& network, const Request& request, const Wanted& wanted,
                     Faults& faults) {
    check_ranges(request.ranges, faults);
    if (network.ipam == Ipam::builtin && request.ranges.empty()) {
        faults.push_back({"ipam/ranges", "is required: where addresses come from; or a single \"subnet\""});
    }
    if (network.ipam == Ipam::none && !wanted.ips.empty()) {
        faults.push_back({"ips", "were requested, and the network has no \"ipam\" that could give them"});
    }
    if (!request.up && network.ipam != Ipam::none) {
        faults.push_back({"disableContainerInterface",
                          "leaves the interface down, so that it can have no addresses; "
                          "leave \"ipam\" out"});
    }
}

void check_router(const NetworkConfig& network, const Request& request, Faults& faults) {
    if (network.ipam != Ipam::none) return;
    const auto needs = [&](bool asked, const char* key) {
        if (asked) faults.push_back({key, "needs \"ipam\": without addresses there is nothing to route"});
    };
    needs(request.gateway, "isGateway");
    needs(request.masquerade, "ipMasq");
    needs(!request.port_mappings.empty(), "portMappings");
}

}  // namespace

void add_default_routes(Request& request) {
    if (!request.default_gateway) return;
    const auto add = [&](bool v4) {
        const auto destination = *Prefix::parse(v4 ? "0.0.0.0/0" : "::/0");
        const bool present = std::any_of(request.routes.begin(), request.routes.end(),
                                         [&](const auto& route) { return route.destination == destination; });
        if (!present) request.routes.push_back({.destination = destination});
    };
    for (const auto& set : request.ranges) {
        if (!set.empty()) add(set.front().subnet.address.is_v4());
    }
    for (const auto& address : request.addresses)
        add(address.address.address.is_v4());
}

Request read_request(const NetworkConfig& network, const Environment& environment,
                     const Arguments& arguments) {
    Request request;
    request.key = {network.name, environment.container, environment.ifname};
    request.netns = environment.netns;
    request.labels = arguments.labels;
    request.pod_labels = arguments.pod_labels;
    Faults faults;
    std::vector<std::string> unsupported;
    Wanted wanted{.ips = {}, .mac = arguments.mac};
    for (const auto& ip : arguments.ips)
        wanted.add(ip);
    ObjectReader reader(*network.json, "", faults, Keys::any_case);
    read_bridge_keys(reader, request, unsupported, faults);
    if (network.ipam == Ipam::builtin) read_ipam(*reader.object("ipam"), request, faults);
    if (const auto* dns = reader.object("dns")) {
        const auto given = read_dns(*dns, "dns", faults);
        if (!given.empty()) request.dns = given;
    }
    read_own_keys(reader, request, faults);
    if (const auto* args = reader.object("args")) read_args(*args, request, wanted, faults);
    if (const auto* runtime = reader.object("runtimeConfig")) {
        read_runtime_config(*runtime, network.ipam, request, wanted, unsupported, faults);
    }
    check_addresses(network, request, wanted, faults);
    check_router(network, request, faults);
    add_default_routes(request);
    for (const auto& key : reader.unread())
        request.unknown_keys.push_back(key);
    if (request.pod_labels.size() > kLabelsMost)
        faults.push_back({"labels", "are " + std::to_string(request.pod_labels.size()) +
                                        " together; at most " + std::to_string(kLabelsMost) +
                                        " are possible"});
    std::string sentences;
    for (const auto& one : unsupported)
        sentences += (sentences.empty() ? "" : "; ") + one;
    if (!sentences.empty()) throw Error(attachment::kUnsupportedField, sentences);
    if (!faults.empty()) throw Error(attachment::kInvalidConfig, faults);
    request.mac = wanted.mac;
    if (network.ipam == Ipam::builtin) request.requested = wanted.ips;
    return request;
}

}  // namespace viaduct::cni
