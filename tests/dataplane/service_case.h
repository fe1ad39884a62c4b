// A case of tests/dataplane/services/ as it is written in its file: read by the words that there are, and by
// no others. What they mean stands in service_case_runner.cc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/routing_model.h"

#include "packets.h"

namespace viaduct::test {

/// The node that the case is about.
struct CaseNode {
    std::string name = "here";
    std::string zone;  ///< empty: nobody tells
    std::vector<Prefix> addresses;
    std::vector<Prefix> ranges;
    std::vector<Prefix> node_port_networks;
    std::map<std::string, std::vector<IpAddress>> pods;  ///< attached here: "apps/web-1" to its addresses
};

/// What is to become of packets. Of the sets one is told.
struct Expected {
    std::optional<std::set<std::string>> reach;  ///< the backends that get them: all of these and no other
    std::optional<std::string> refused;          ///< "rst", "port-unreachable", ...
    std::optional<std::string> dropped;          ///< a drop's reason
    bool source_is_node = false;                 ///< what the backend sees; else its client
    bool source_told = false;
    bool each_client_one = false;  ///< no client reaches two backends
    bool answered = true;          ///< the backends answer, and the clients get that
};

/// New connections.
struct Send {
    std::string from;  ///< "outside", "pod", "host", or an address
    std::string to;    ///< a place, or a service's port, a word for which of its places, and a family
    std::uint8_t protocol = kTcp;
    std::uint8_t tcp_flags = 2;
    unsigned clients = 1;
    unsigned connections = 0;  ///< of each client; 0: as many as what is expected needs
    std::string name;          ///< by which `Again` knows them; empty: not kept
    Expected expected;
};

/// The same connections go on.
struct Again {
    std::string name;
    std::optional<std::set<std::string>> stay;  ///< backends whose flows stay; nothing: all
    Expected moved;                             ///< what becomes of the others
};

struct Apply {
    std::string manifests;
    std::vector<std::string> remove;  ///< "EndpointSlice apps/web-a"
};
struct Advance {
    std::uint32_t seconds = 0;
};
/// All places at which the service's ports are found, and no other: "tcp 10.96.0.10:80".
struct PlacesOf {
    std::string service;
    std::set<std::string> places;
};
/// Texts of which each is in one of the service's faults, and no fault has none of them.
struct FaultsOf {
    std::string service;
    std::vector<std::string> texts;
};

using CaseStep = std::variant<Send, Again, Apply, Advance, PlacesOf, FaultsOf>;

struct ServiceCase {
    std::string title;
    std::string source;  ///< where Kubernetes' documentation says so
    CaseNode node;
    std::string manifests;
    struct Step {
        std::string text;  ///< for people, where it fails
        CaseStep step;
    };
    std::vector<Step> steps;
};

/// Throws std::runtime_error: a word that nobody knows, one that is missing, a value that cannot be.
ServiceCase read_service_case(std::string_view text, const std::string& file);

}  // namespace viaduct::test
