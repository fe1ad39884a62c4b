// The environment variables by which a runtime says what it wants (CNI specification, section 2).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/labels.h"

namespace viaduct::cni {

enum class Command { add, del, check, gc, status, version };

struct Environment {
    Command command = Command::version;
    std::string container;        ///< CNI_CONTAINERID
    std::string netns;            ///< CNI_NETNS; may be empty for DEL
    std::string ifname;           ///< CNI_IFNAME
    std::string args;             ///< CNI_ARGS, unread
    std::string path;             ///< CNI_PATH
    bool netns_override = false;  ///< CNI_NETNS_OVERRIDE: the plugin's own namespace is meant
};

/// What CNI_ARGS may carry.
struct Arguments {
    std::vector<IpAddress> ips;
    std::optional<MacAddress> mac;
    std::map<std::string, std::string> labels;  ///< K8S_*
    Labels pod_labels;                          ///< VIADUCT_LABELS
};

/// Looks a variable up; a null pointer when it is not set.
using Variables = std::function<const char*(const char*)>;

/// Throws Error 4 that names everything that is missing or wrong for the command.
Environment read_environment(const Variables& variables);
/// "K=V;K=V". Throws Error 4 for a pair that is none, a value that is wrong, and, unless IgnoreUnknown is 1
/// or true, an unknown key.
Arguments read_arguments(const std::string& text);

}  // namespace viaduct::cni
