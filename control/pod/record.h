// The record of one attachment: what was asked, what was made of it, and the names that follow from its key.
// Kept in the store as a row and in memory beside it, so that CHECK and reconciliation read no disk.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "viaduct/attachment.h"

#include "store/database.h"

namespace viaduct::pod {

using attachment::Key;

const std::vector<store::Migration>& migrations();

/// A record that is not ready when control starts was left half way by a crash, and is taken away.
enum class State : std::uint8_t { adding, ready, removing };
std::string_view to_string(State state);

struct Record {
    attachment::Request request;
    attachment::Attached attached;
    std::string ifname;   ///< of its interface now; tap only
    std::string sandbox;  ///< where a container engine is about to move it, or has moved it; empty: nowhere
    bool moved = false;   ///< it is there, under `ifname`, and netns and inode are of that namespace
    std::string segment;  ///< where its addresses are unique
    std::string netns;    ///< a path that leads to its namespace for everybody on the node; tap only
    std::uint64_t inode = 0;  ///< of the namespace
    bool bound = false;       ///< a mount of ours led there when it was made
    std::string directory;    ///< of its socket; vhost-user only
    State state = State::adding;
    std::string boot;             ///< the kernel's boot id: nothing in the kernel outlives it
    std::int64_t created = 0;     ///< seconds since 1970
    std::int64_t generation = 0;  ///< of the history, under which it was accepted
    bool in_dataplane = true;     ///< in memory only: false once a DEL has taken its port out
};

using Records = std::map<Key, Record>;

/// What people and manifests call a pod.
struct PodName {
    std::string namespace_;
    std::string name;
    friend auto operator<=>(const PodName&, const PodName&) = default;
};
std::string to_string(const PodName& pod);  ///< "default/web"
/// As CNI_ARGS say (K8S_POD_NAMESPACE, K8S_POD_NAME) or who attached it by hand; where nobody does, the
/// container's id in namespace default.
PodName pod_of(const Record& record);

/// A pod with all its attachments that are ready.
struct Pod {
    std::vector<IpAddress> addresses;
    Labels labels;
};

/// A name of a port, stable and unique per key, that a person recognises: container, interface, hash.
std::string port_name(const Key& key);
/// Eight hexadecimal digits, stable.
std::string short_hash(const std::string& text);
/// Locally administered and unicast, from a hash of the key; another one for each `attempt`.
MacAddress derived_mac(const Key& key, unsigned attempt);
/// The interface's alias in the kernel, by which a stray one is known.
std::string alias(const Key& key);
/// "BRIDGE/VLAN": attachments with the same one are on one link.
std::string segment(const std::string& bridge, const std::optional<model::VlanMembership>& vlan);
/// What the dataplane is told.
model::Port port_of(const Record& record);
/// For people and the command line.
Json::Value describe(const Record& record);
/// The same as one line, for the history.
std::string history_text(const Record& record);

/// As the pod has them: those of a host where the network is routed.
std::vector<attachment::Address> own_addresses(const Record& record);
/// "web (shop/CONTAINER/IFNAME)" where the pod has a name, or the key alone.
std::string words_for(const Record& record);

Records load(store::Transaction& tx);
void save(store::Transaction& tx, const Record& record);  ///< inserts or replaces
void set_state(store::Transaction& tx, const Key& key, State state);
void erase(store::Transaction& tx, const Key& key);

}  // namespace viaduct::pod
