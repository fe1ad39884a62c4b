// The objects of a node's network, as control stores them and as the dataplane is told them. One set of types
// and one JSON form for both: what a person configures, what is kept, and what goes over the dataplane's
// socket.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/fault.h"
#include "viaduct/routing_model.h"

namespace Json {
class Value;
}

namespace viaduct::model {

inline constexpr std::uint16_t kVlanFirst = 1;
inline constexpr std::uint16_t kVlanLast = 4094;  ///< IEEE 802.1Q: 0 and 4095 are reserved
inline constexpr std::uint16_t kDefaultVlan = 1;
inline constexpr std::uint32_t kMtuLeast = 68;  ///< RFC 791: every link carries this
inline constexpr std::uint32_t kMtuMost = 9216;
inline constexpr std::size_t kSocketPathMost = 107;  ///< sun_path less its terminating NUL
inline constexpr std::size_t kNameMost = 63;

/// Names of bridges and ports: 1 to 63 of letters, digits, '_', '.', '-', not starting with '-' or '.'.
bool is_name(std::string_view text);
/// Names of kernel interfaces: 1 to 15 bytes, not "." or "..", no '/', ':' or white space.
bool is_interface_name(std::string_view text);

/// A learning switch (IEEE 802.1Q clause 8 where vlan_filtering is on; otherwise tags are payload).
struct Bridge {
    std::string name;
    bool vlan_filtering = false;
    bool learning = true;
    std::uint32_t ageing_seconds = 300;  ///< 10..1000000; the standard's default
    std::uint32_t fdb_size = 8192;       ///< most entries, 64..1048576
    friend bool operator==(const Bridge&, const Bridge&) = default;
};

/// An inclusive range of VLAN ids.
struct VlanRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend auto operator<=>(const VlanRange&, const VlanRange&) = default;
};

/// A port's place on a VLAN-filtering bridge. Access port: `untagged` only. Trunk: `tagged` ranges, and
/// `untagged` as the native VLAN when not 0.
struct VlanMembership {
    std::uint16_t untagged =
        kDefaultVlan;               ///< VLAN of untagged frames both ways; 0: untagged frames are dropped
    std::vector<VlanRange> tagged;  ///< sorted, disjoint
    friend bool operator==(const VlanMembership&, const VlanMembership&) = default;
};

enum class PortKind : std::uint8_t {
    vhost_user,  ///< a guest or DPDK application over a vhost-user socket
    tap,         ///< a kernel interface in a network namespace
    wire,        ///< in-process, for tests; not accepted over the API
    uplink,      ///< an Ethernet device of DPDK's: a PCI device or a virtual one
    vxlan,       ///< a tunnel's end (RFC 7348): frames leave the bridge by it wrapped in UDP
};

struct VhostUser {
    std::string path;                    ///< socket, absolute, at most 107 bytes
    bool server = false;                 ///< true: the dataplane listens; false: it connects and reconnects
    std::optional<std::uint32_t> mode;   ///< of the socket when server, default 0660
    std::optional<std::uint32_t> owner;  ///< numeric user id
    std::optional<std::uint32_t> group;  ///< numeric group id
    friend bool operator==(const VhostUser&, const VhostUser&) = default;
};

struct Tap {
    std::string ifname;  ///< name of the interface in its namespace
    std::string netns;   ///< path of the namespace; empty: the dataplane's own
    std::uint64_t netns_inode =
        0;  ///< when not 0, the namespace must have this inode, so that a reused path is found out
    friend bool operator==(const Tap&, const Tap&) = default;
};

struct Uplink {
    std::string
        device;  ///< PCI address, or a virtual device with its arguments ("net_af_packet0,iface=eth1")
    friend bool operator==(const Uplink&, const Uplink&) = default;
};

struct Vxlan {
    std::uint32_t vni = 0;                       ///< 1..16777215
    IpAddress local;                             ///< own tunnel end: an address of an interface of `vrf`
    std::string vrf = std::string(kDefaultVrf);  ///< whose routes lead to the remotes
    std::vector<IpAddress>
        remotes;  ///< peers: what must flood goes to each; from nobody else anything is taken
    std::uint16_t udp_port = 4789;
    std::uint8_t ttl = 64;      ///< of the outer header, 1..255
    bool udp_checksum = false;  ///< over IPv4; over IPv6 it is always sent
    friend bool operator==(const Vxlan&, const Vxlan&) = default;
};

struct Port {
    std::string name;
    PortKind kind = PortKind::vhost_user;
    std::string bridge;             ///< empty: attached to nothing; its frames are dropped by name
    bool up = true;                 ///< administrative state
    std::uint32_t mtu = 1500;       ///< payload bytes after the Ethernet header and one VLAN tag; 68..9216
    std::uint16_t queues = 1;       ///< queue pairs, 1..16
    std::optional<MacAddress> mac;  ///< tap: the interface's address; others: for show
    std::optional<VlanMembership>
        vlan;                     ///< only on a vlan_filtering bridge; absent there: access port of VLAN 1
    std::uint32_t fdb_limit = 0;  ///< most learned entries of this port; 0: the bridge's size
    VhostUser vhost;              ///< kind vhost_user
    Tap tap;                      ///< kind tap
    Uplink uplink;                ///< kind uplink
    Vxlan vxlan;                  ///< kind vxlan
    friend bool operator==(const Port&, const Port&) = default;
};

/// A static FDB entry.
struct FdbEntry {
    std::string bridge;
    std::uint16_t vlan = 0;  ///< 0 on a bridge without VLAN filtering
    MacAddress mac;
    std::string port;
    std::optional<IpAddress> remote;  ///< on a vxlan port: the peer behind which the address is
    [[nodiscard]] auto key() const { return std::tie(bridge, vlan, mac); }
    friend bool operator==(const FdbEntry&, const FdbEntry&) = default;
};

/// A whole set of objects, by name.
struct Config {
    std::map<std::string, Bridge> bridges;
    std::map<std::string, Port> ports;
    std::map<std::tuple<std::string, std::uint16_t, MacAddress>, FdbEntry> fdb;
    std::map<std::string, Vrf> vrfs;
    std::map<std::string, Interface> interfaces;
    std::map<std::tuple<std::string, Prefix>, Route> routes;
    std::map<std::tuple<std::string, IpAddress>, Neighbour> neighbours;
    std::map<std::string, Masquerade> masquerades;
    std::map<std::string, PortForward> port_forwards;
    std::map<std::string, StaticNat> static_nats;
    FlowTimeouts timeouts;
    friend bool operator==(const Config&, const Config&) = default;
};

/// A difference: objects to create or replace, and names to delete. Deleting what is not there is a fault in
/// a transaction. One object may not be both put and deleted.
struct Change {
    Config put;
    std::set<std::string> delete_bridges;
    std::set<std::string> delete_ports;
    std::set<std::tuple<std::string, std::uint16_t, MacAddress>> delete_fdb;
    [[nodiscard]] bool empty() const {
        return put == Config{} && delete_bridges.empty() && delete_ports.empty() && delete_fdb.empty();
    }
};

/// `config` with `change` applied; faults (in the order found) where the change names what is not there.
Config apply(const Config& config, const Change& change, Faults& faults);
/// The change that turns `from` into `to`.
Change difference(const Config& from, const Config& to);
/// What can be wrong between objects: unknown bridge, VLANs on a bridge that does not filter, two ports with
/// one socket or one interface, static entries on absent ports. Objects by themselves were checked when read.
void check(const Config& config, Faults& faults);

/// JSON. Reading adds faults and leaves out what was faulty; `where` is the place told ("ports/0").
Json::Value to_json(const Bridge& bridge);
Json::Value to_json(const Port& port);
Json::Value to_json(const FdbEntry& entry);
Json::Value to_json(const Config& config);  ///< {"bridges": [...], "ports": [...], "fdb": [...]}
Json::Value to_json(const Change& change);  ///< {"put": {...}, "delete": {"bridges": [names], "ports":
                                            ///< [names], "fdb": [...]}}
std::optional<Bridge> bridge_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<Port> port_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<FdbEntry> fdb_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Config config_from_json(const Json::Value& json, const std::string& where, Faults& faults);
/// Also accepts "dry_run" and other top-level keys that `extra` names, unread.
Change change_from_json(const Json::Value& json, const std::string& where, Faults& faults,
                        const std::set<std::string>& extra = {});

std::string_view to_string(PortKind kind);  ///< "vhost-user", "tap", "wire"
/// "10" or "20-29".
std::optional<VlanRange> parse_vlan_range(std::string_view text);
std::string to_string(const VlanRange& range);

}  // namespace viaduct::model
