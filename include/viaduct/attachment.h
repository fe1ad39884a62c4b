// What the CNI plugin asks control for and what it is told: one pod interface on one network, in words of its
// own rather than CNI's many spellings. The plugin turns standard input into these and these into a result;
// control knows nothing of CNI's versions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/fault.h"
#include "viaduct/labels.h"
#include "viaduct/model.h"

namespace Json {
class Value;
}

namespace viaduct {
class ObjectReader;
}

namespace viaduct::attachment {

inline constexpr std::size_t kNetworkMost = 253;    ///< bytes of a network's name
inline constexpr std::size_t kContainerMost = 253;  ///< bytes of a container's id
inline constexpr std::size_t kSetsMost = 16;        ///< range sets of one network
inline constexpr std::size_t kRangesMost = 256;     ///< ranges of one set
inline constexpr std::size_t kListMost = 1024;      ///< exclusions, routes, name servers, ...

/// Error codes of the CNI specification's table, and ours from 100 on.
enum Code : unsigned {
    kIncompatibleVersion = 1,
    kUnsupportedField = 2,
    kUnknownContainer = 3,
    kInvalidEnvironment = 4,
    kIo = 5,
    kDecoding = 6,
    kInvalidConfig = 7,
    kTryAgain = 11,
    kNotAvailable = 50,
    kNotAvailableLimited = 51,
    kPortRefused = 100,     ///< the dataplane or the kernel refused the interface
    kNoAddressLeft = 101,   ///< a range is exhausted
    kAddressRefused = 102,  ///< a requested address is held, or in no range
    kMacRefused = 103,      ///< a requested MAC address is held
    kCheckFailed = 104,     ///< CHECK found something else than ADD had made
    kDelegateFailed = 105,  ///< a delegated IPAM plugin could not be run or answered nonsense
    kInternal = 199,
};

/// Container ids and network names: `^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`, the whole string.
bool is_identifier(std::string_view text);

/// What identifies an attachment (CNI's primary key).
struct Key {
    std::string network;
    std::string container;
    std::string ifname;
    friend auto operator<=>(const Key&, const Key&) = default;
};
std::string to_string(const Key& key);  ///< "network/container/ifname"

/// Consecutive addresses of one subnet, both ends included.
struct Range {
    Prefix subnet;
    IpAddress first;
    IpAddress last;
    std::optional<IpAddress> gateway;  ///< never handed out
    friend bool operator==(const Range&, const Range&) = default;
};
std::string to_string(const Range& range);  ///< "10.0.0.1-10.0.0.254"

/// One address is taken from each set, from the first of its ranges that has one.
using RangeSet = std::vector<Range>;

struct Address {
    Prefix address;  ///< the interface's, with its host bits
    std::optional<IpAddress> gateway;
    friend bool operator==(const Address&, const Address&) = default;
};

struct Route {
    Prefix destination;
    std::optional<IpAddress> gateway;  ///< absent: the gateway of the address of that family, or on link
    std::optional<std::uint32_t> mtu;
    std::optional<std::uint32_t> advmss;
    std::optional<std::uint32_t> priority;
    std::optional<std::uint32_t> table;
    std::optional<std::uint32_t> scope;  ///< rtnetlink's: 0 universe, 253 link
    friend bool operator==(const Route&, const Route&) = default;
};

struct Dns {
    std::vector<std::string> nameservers;
    std::string domain;
    std::vector<std::string> search;
    std::vector<std::string> options;
    [[nodiscard]] bool empty() const {
        return nameservers.empty() && domain.empty() && search.empty() && options.empty();
    }
    friend bool operator==(const Dns&, const Dns&) = default;
};

enum class Interface : std::uint8_t { tap, vhost_user };

struct VhostUser {
    bool pod_listens = true;  ///< true: the pod makes the socket, the dataplane connects and reconnects
    std::string directory;    ///< parent of the pod's directory; empty: control's own
    std::string owner;        ///< of the directory (and of a socket that the dataplane makes): name or number
    std::string group;
    std::optional<std::uint32_t> permissions;  ///< of the directory, e.g. 0770
    friend bool operator==(const VhostUser&, const VhostUser&) = default;
};

/// Ports of the node's that lead to the pod.
struct PortMapping {
    model::Transport protocol = model::Transport::tcp;
    std::optional<IpAddress> host_address;  ///< absent: every address of the router's
    std::uint16_t host_port = 0;            ///< first of them, 1..65535
    std::uint16_t container_port = 0;       ///< where the first one leads, 1..65535
    std::uint16_t count = 1;                ///< how many; they follow one to one, none above 65535
    friend bool operator==(const PortMapping&, const PortMapping&) = default;
};

/// What ADD asks for.
struct Request {
    Key key;
    Interface interface = Interface::tap;
    std::string netns;  ///< path as the runtime gave it; the namespace itself comes as a descriptor
    std::string bridge;
    bool wire = false;  ///< the bridge, where nobody has configured it, is a wire
    std::optional<model::VlanMembership> vlan;
    std::uint32_t mtu = 1500;
    std::uint16_t queues = 1;
    bool up = true;                  ///< false: the pod's interface is left administratively down
    bool detect_duplicates = false;  ///< IPv6 duplicate address detection is waited for
    std::optional<MacAddress> mac;   ///< absent: derived from the key
    VhostUser vhost;
    std::vector<RangeSet> ranges;  ///< built-in IPAM
    std::vector<Prefix> exclude;
    std::vector<IpAddress> requested;
    std::vector<Address> addresses;  ///< from a delegated IPAM plugin
    std::string token;               ///< of the delegation that gave them; empty: none was
    std::vector<Route> routes;
    bool gateway = false;          ///< the network's router has the gateway's address on the bridge
    bool default_gateway = false;  ///< and the pod's default routes go there; `routes` has them
    bool masquerade = false;       ///< what the pod sends elsewhere has the node's address
    /// Each of the pod's addresses is that of a host, without a network: everything goes by the gateway.
    bool routed = false;
    /// The interface is made in `netns`, and a container engine moves it into the pod and gives it its
    /// addresses.
    bool handed_over = false;
    bool goes_with_namespace = false;  ///< nobody will say when the pod ends: its namespace's end says so
    std::vector<PortMapping> port_mappings;
    bool guarded = true;       ///< the pod sends from its own addresses alone
    bool isolated = true;      ///< the router that `gateway` makes keeps the network from other isolated ones
    model::RateLimit ingress;  ///< of what goes to the pod
    model::RateLimit egress;   ///< of what comes from it
    Dns dns;
    std::string device_id;
    std::string device_info_file;               ///< absolute path of the NPWG device information; empty: none
    std::map<std::string, std::string> labels;  ///< K8S_POD_NAME and the like, for people
    Labels pod_labels;                          ///< by which selectors of services choose the pod
    std::vector<std::string> unknown_keys;      ///< of the network configuration, for the log
    friend bool operator==(const Request&, const Request&) = default;
};

/// What ADD made.
struct Attached {
    std::string port;  ///< the dataplane's port
    MacAddress mac;
    std::uint32_t mtu = 1500;
    std::vector<Address> addresses;
    std::string socket_path;  ///< vhost-user only
    friend bool operator==(const Attached&, const Attached&) = default;
};

/// What CHECK expects, from prevResult; what is absent was not told and is not compared.
struct Expected {
    Key key;
    std::optional<MacAddress> mac;
    std::vector<Prefix> addresses;
};

/// A delegated IPAM plugin's invocation, kept so that its DEL can be called by somebody else later.
struct Delegation {
    std::string type;   ///< the IPAM plugin's name
    std::string input;  ///< whole standard input
    std::string netns;
    std::string args;  ///< CNI_ARGS
    std::string path;  ///< CNI_PATH
    friend bool operator==(const Delegation&, const Delegation&) = default;
};

/// A delegation whose attachment is gone or half made, and whose DEL is still owed.
struct Owed {
    Key key;
    std::string token;  ///< names this very delegation
    Delegation delegation;
};

/// JSON. Reading adds faults and gives what could be read; unknown keys are faults.
Json::Value to_json(const Key& key);
Json::Value to_json(const Range& range);
Json::Value to_json(const Address& address);
Json::Value to_json(const Route& route);
Json::Value to_json(const Dns& dns);
Json::Value to_json(const PortMapping& mapping);
Json::Value to_json(const Request& request);
Json::Value to_json(const Attached& attached);
Json::Value to_json(const Expected& expected);
Json::Value to_json(const Delegation& delegation);
Json::Value to_json(const Owed& owed);
Key key_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Request request_from_json(const Json::Value& json, const std::string& where, Faults& faults);
PortMapping port_mapping_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Attached attached_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Expected expected_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Delegation delegation_from_json(const Json::Value& json, const std::string& where, Faults& faults);
/// A member that is an object of labels, each held to the rules of labels.
Labels pod_labels_from_json(ObjectReader& reader, const char* key);
Owed owed_from_json(const Json::Value& json, const std::string& where, Faults& faults);

}  // namespace viaduct::attachment
