// discovery.k8s.io/v1 EndpointSlice, and v1 Endpoints, which come out as slices.
#include <set>
#include <string>
#include <utility>

#include "kubernetes/names.h"
#include "kubernetes/reading.h"

namespace viaduct::kubernetes {

namespace {

TargetReference read_reference(const Value& value, TextPool& pool) {
    return {pool.share(value["kind"].text_or_empty()), pool.share(value["namespace"].text_or_empty()),
            value["name"].text_or_empty()};
}

void read_ports(const Value& list, std::vector<EndpointPort>& ports) {
    std::set<std::string> names;
    list.each_mapping(kSlicePortsMost, [&](const Value& value) {
        EndpointPort port;
        const auto name = value["name"];
        const auto written = name.text_or_empty();
        if (!written.empty()) port.name = name.name(is_dns1123_label, kDns1123LabelWords).value_or("");
        port.protocol = value["protocol"].transport().value_or(model::Transport::tcp);
        port.port = value["port"].port();
        port.app_protocol = value["appProtocol"].text_or_empty();
        if (!names.insert(port.name).second)
            name.fault(written.empty() ? "is missing, as another port's; each needs its own"
                                       : "is \"" + port.name + "\", as another port's; each needs its own");
        ports.push_back(std::move(port));
    });
}

void read_host(const Value& value, TextPool& pool, Endpoint& endpoint) {
    const auto hostname = value["hostname"];
    if (!hostname.absent() && !hostname.text_or_empty().empty())
        endpoint.hostname = hostname.name(is_dns1123_label, kDns1123LabelWords).value_or("");
    endpoint.node_name = pool.share(value["nodeName"].text_or_empty());
    endpoint.target_ref = read_reference(value.mapping("targetRef"), pool);
}

void read_endpoint_addresses(const Value& value, IpFamily family, Endpoint& endpoint) {
    const auto addresses = value["addresses"];
    addresses.each(kEndpointAddressesMost, [&](const Value& element) {
        if (element.absent()) return element.fault("is nothing; an address is wanted");
        const auto address = element.address();
        if (!address) return;
        require_ordinary(element, *address);
        if (family_of(*address) != family)
            element.fault("is " + address->to_string() + ", and the slice's addressType is " +
                          std::string(to_string(family)) + "; each family has its own slices");
        endpoint.addresses.push_back(*address);
    });
    endpoint.addresses.shrink_to_fit();
    if (endpoint.addresses.empty()) addresses.fault("has none; an endpoint has at least one address");
}

Endpoint read_endpoint(const Value& value, IpFamily family, TextPool& pool) {
    Endpoint endpoint;
    read_endpoint_addresses(value, family, endpoint);
    const auto conditions = value.mapping("conditions");
    endpoint.ready = conditions["ready"].boolean_or(true);
    endpoint.serving = conditions["serving"].boolean_or(endpoint.ready);
    endpoint.terminating = conditions["terminating"].boolean_or(false);
    read_host(value, pool, endpoint);
    endpoint.zone = pool.share(value["zone"].text_or_empty());
    const auto hints = value.mapping("hints");
    const auto read_hints = [&](const char* key, const char* missing, std::vector<SharedText>& into) {
        hints[key].each_mapping(kHintsMost, [&](const Value& hint) {
            const auto name = hint["name"];
            if (name.absent()) return name.fault(missing);
            into.push_back(pool.share(name.text_or_empty()));
        });
    };
    read_hints("forZones", "is missing; a zone's name is wanted", endpoint.hints_for_zones);
    read_hints("forNodes", "is missing; a node's name is wanted", endpoint.hints_for_nodes);
    return endpoint;
}

/// Of one family, of a subset's ready or not ready addresses.
void add_subset_addresses(const Value& list, IpFamily family, bool ready, TextPool& pool,
                          EndpointSlice& slice) {
    list.each_mapping(kListMost, [&](const Value& value) {
        const auto ip = value["ip"];
        if (ip.absent()) {
            if (family == IpFamily::ipv4) ip.fault("is missing; an address is wanted");
            return;
        }
        const auto address = ip.address();
        if (!address || family_of(*address) != family) return;
        require_ordinary(ip, *address);
        Endpoint endpoint;
        endpoint.addresses = {*address};
        endpoint.ready = endpoint.serving = ready;
        read_host(value, pool, endpoint);
        slice.endpoints.push_back(std::move(endpoint));
    });
}

}  // namespace

void require_ordinary(const Value& value, const IpAddress& address) {
    const char* special = address.is_unspecified()  ? "the address of nobody"
                          : address.is_loopback()   ? "a loopback address"
                          : address.is_link_local() ? "a link-local address"
                          : address.is_multicast()  ? "a multicast address"
                                                    : nullptr;
    if (special != nullptr)
        value.fault("is " + address.to_string() + ", " + special + "; one that is routed is wanted");
}

EndpointSlice read_slice(const Value& root, ObjectMeta meta, TextPool& pool) {
    EndpointSlice slice;
    slice.meta = std::move(meta);
    if (const auto label = slice.meta.labels.find(std::string(kServiceNameLabel));
        label != slice.meta.labels.end())
        slice.service = label->second;
    const auto type = root["addressType"];
    if (type.absent()) {
        type.fault("is missing; IPv4 and IPv6 are possible");
        return slice;
    }
    const auto word = type.choice({"IPv4", "IPv6", "FQDN"});
    if (!word) return slice;
    if (*word == 2) {
        type.fault(
            "is FQDN, whose endpoints are names that no packet can be sent to; IPv4 and IPv6 are "
            "possible");
        return slice;
    }
    slice.family = *word == 0 ? IpFamily::ipv4 : IpFamily::ipv6;
    read_ports(root["ports"], slice.ports);
    root["endpoints"].each_mapping(kSliceEndpointsMost, [&](const Value& value) {
        slice.endpoints.push_back(read_endpoint(value, slice.family, pool));
    });
    slice.endpoints.shrink_to_fit();
    slice.ports.shrink_to_fit();
    return slice;
}

std::vector<EndpointSlice> read_endpoints(const Value& root, const ObjectMeta& meta, TextPool& pool) {
    std::vector<EndpointSlice> slices;
    std::size_t number = 0;
    root["subsets"].each_mapping(kListMost, [&](const Value& subset) {
        std::vector<EndpointPort> ports;
        read_ports(subset["ports"], ports);
        for (const auto family : {IpFamily::ipv4, IpFamily::ipv6}) {
            EndpointSlice slice;
            slice.meta = meta;
            slice.meta.name = meta.name + '/' + std::to_string(number) + '/' + std::string(to_string(family));
            slice.service = meta.name;
            slice.family = family;
            slice.from_endpoints = true;
            add_subset_addresses(subset["addresses"], family, true, pool, slice);
            add_subset_addresses(subset["notReadyAddresses"], family, false, pool, slice);
            if (slice.endpoints.empty()) continue;
            slice.ports = ports;
            slices.push_back(std::move(slice));
        }
        ++number;
    });
    return slices;
}

}  // namespace viaduct::kubernetes
