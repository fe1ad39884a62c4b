// What a command works with: its words, control's API, and how its result is shown.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "viaduct/fault.h"

#include "cli/words.h"

namespace Json {
class Value;
}

namespace viaduct::cli {

/// One invocation.
struct Session {
    Arguments arguments;
    Words words;

    explicit Session(Arguments parsed) : arguments(std::move(parsed)), words(arguments.words) {}

    /// Asks control; throws Failure with its faults in words.
    Json::Value ask(const std::string& method, const std::string& target) const;
    /// `descriptor` goes along, and stays the caller's; -1 for none.
    Json::Value ask(const std::string& method, const std::string& target, const Json::Value& body,
                    int descriptor = -1) const;
    /// Sends {put, delete} with the invocation's --dry-run and --comment, and tells what came of it.
    int change(const Json::Value& body, const std::string& method = "POST",
               const std::string& target = "/v1/config/changes") const;
    /// Prints `json` when JSON was asked for; true when it did.
    bool printed(const Json::Value& json) const;

private:
    Json::Value ask_text(const std::string& method, const std::string& target, const std::string& body,
                         int descriptor = -1) const;
};

struct Command {
    std::string name;                  ///< "add"; empty: the object has this command alone, without a word
    std::vector<std::string> aliases;  ///< "list" for "show"
    std::string syntax;                ///< what follows the name
    std::string summary;
    std::function<int(Session&)> run;
};

struct Object {
    std::string name;  ///< "bridge"
    std::string summary;
    std::vector<Command> commands;  ///< the first is what runs when no command is given
    std::string notes;              ///< words explained, in --help
    std::vector<std::string> examples;
    /// Its name is a verb, as kubectl has it, and gives way where what is written may begin an object's name.
    bool verb = false;
};

/// One file each.
Object link_object();
Object bridge_object();
Object port_object();
Object uplink_object();
Object fdb_object();
Object flow_object();
Object pod_object();
Object stats_object();
Object trace_object();
Object log_object();
Object config_object();
Object vrf_object();
Object interface_object();
Object addr_object();
Object route_object();
Object neigh_object();
Object nat_object();
Object timeouts_object();
Object net_object();
Object service_object();
Object endpoint_object();
Object apply_object();
Object delete_object();
Object diff_object();
Object get_object();

/// Faults for people: "port web: mtu must be ...", one a line.
std::string words_of(const Faults& faults);
/// "port web" for "ports/web", "route 10.0.0.0/8 in VRF blue", "fdb entry MAC vlan 10 on bridge br0".
std::string object_words(const std::string& object);
/// The place of an object of a list, as faults and generations name it: "routes/default/10.0.0.0/8".
std::string place_in(const std::string& list, const Json::Value& object);
/// {put, delete} as a list of {object, before, after} for diff_text(); what a deleted object was is not told.
Json::Value by_object(const Json::Value& changes);
/// "+ bridge br0 ...", "- ...", "~ port web mtu 1500 -> 9000" for a list of {object, before, after}.
std::string diff_text(const Json::Value& changes);

/// Members that may be absent or of another type.
std::string text_of(const Json::Value& json, const char* key);
std::uint64_t number_of(const Json::Value& json, const char* key);
bool bool_of(const Json::Value& json, const char* key, bool otherwise = false);
/// The list's member whose "name" is `name`; null when there is none.
const Json::Value* find_named(const Json::Value& list, const std::string& name);
/// Access and trunk VLANs in the words of `port add`: "10", "trunk 20,30-39 native 1".
std::string vlan_words(const Json::Value& vlan);

/// Rows under a heading, columns as wide as they need to be; numbers to the right.
class Table {
public:
    explicit Table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    [[nodiscard]] std::string text() const;

private:
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace viaduct::cli
