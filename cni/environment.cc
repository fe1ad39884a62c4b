#include "environment.h"

#include <strings.h>

#include <utility>

#include "viaduct/attachment.h"
#include "viaduct/model.h"

#include "error.h"

namespace viaduct::cni {

namespace {

constexpr std::pair<const char*, Command> kCommands[] = {
    {"ADD", Command::add}, {"DEL", Command::del},       {"CHECK", Command::check},
    {"GC", Command::gc},   {"STATUS", Command::status}, {"VERSION", Command::version},
};

/// For a message: bounded, printable.
std::string shown(const std::string& text) {
    std::string clean;
    for (char c : text.substr(0, 64))
        clean += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    return '"' + clean + (text.size() > 64 ? "...\"" : "\"");
}

bool is_true(const std::string& text) {
    return text == "1" || ::strcasecmp(text.c_str(), "true") == 0;
}

struct Problems {
    std::string missing;
    std::string wrong;
};

void need(const char* name, const std::string& value, Problems& problems) {
    if (value.empty()) problems.missing += (problems.missing.empty() ? "" : ", ") + std::string(name);
}

void check_names(const Environment& environment, Problems& problems) {
    if (!environment.container.empty() && (!attachment::is_identifier(environment.container) ||
                                           environment.container.size() > attachment::kContainerMost)) {
        problems.wrong +=
            "; CNI_CONTAINERID is " + shown(environment.container) +
            ", and must begin with a letter or digit and hold only those, '_', '.' and '-', at most " +
            std::to_string(attachment::kContainerMost) + " of them";
    }
    if (!environment.ifname.empty() && !model::is_interface_name(environment.ifname)) {
        problems.wrong +=
            "; CNI_IFNAME is " + shown(environment.ifname) +
            ", and must be 1 to 15 bytes, not \".\" or \"..\", without '/', ':' and white space";
    }
    if (environment.netns.size() > 4095) problems.wrong += "; CNI_NETNS is longer than a path can be";
}

}  // namespace

Environment read_environment(const Variables& variables) {
    const auto get = [&](const char* name) {
        const char* value = variables(name);
        return std::string(value == nullptr ? "" : value);
    };
    Environment environment;
    environment.container = get("CNI_CONTAINERID");
    environment.netns = get("CNI_NETNS");
    environment.ifname = get("CNI_IFNAME");
    environment.args = get("CNI_ARGS");
    environment.path = get("CNI_PATH");
    environment.netns_override = is_true(get("CNI_NETNS_OVERRIDE"));
    const auto word = get("CNI_COMMAND");
    bool known = false;
    for (const auto& [name, command] : kCommands) {
        if (word != name) continue;
        environment.command = command;
        known = true;
    }
    // Runtimes probe the version with anything in the other variables.
    if (known && environment.command == Command::version) return environment;
    Problems problems;
    const auto command = environment.command;
    need("CNI_COMMAND", word, problems);
    const bool of_pod =
        !known || command == Command::add || command == Command::del || command == Command::check;
    if (of_pod) need("CNI_CONTAINERID", environment.container, problems);
    if (of_pod && command != Command::del) need("CNI_NETNS", environment.netns, problems);
    if (of_pod) need("CNI_IFNAME", environment.ifname, problems);
    if (known && command == Command::gc) need("CNI_PATH", environment.path, problems);
    if (!word.empty() && !known) {
        throw Error(attachment::kInvalidEnvironment,
                    "CNI_COMMAND is " + shown(word) + ", and must be ADD, DEL, CHECK, GC, STATUS or VERSION");
    }
    if (of_pod) check_names(environment, problems);
    std::string message;
    if (!problems.missing.empty())
        message = "required environment variables are missing: " + problems.missing;
    if (!problems.wrong.empty()) message += message.empty() ? problems.wrong.substr(2) : problems.wrong;
    if (!message.empty()) throw Error(attachment::kInvalidEnvironment, message);
    return environment;
}

namespace {

[[noreturn]] void bad_argument(const std::string& why) {
    throw Error(attachment::kInvalidEnvironment, "CNI_ARGS " + why);
}

void read_ips(const std::string& value, Arguments& arguments) {
    for (std::size_t at = 0; at <= value.size();) {
        const auto end = std::min(value.find(',', at), value.size());
        auto text = value.substr(at, end - at);
        const auto prefix = Prefix::parse(text);
        const auto ip = prefix ? std::optional(prefix->address) : IpAddress::parse(text);
        if (!ip) bad_argument("has IP=" + shown(value) + ", which is not an IP address");
        arguments.ips.push_back(*ip);
        at = end + 1;
    }
}

void read_pair(const std::string& name, const std::string& value, Arguments& arguments, std::string& unknown,
               bool& ignore) {
    if (name == "IgnoreUnknown") {
        ignore = is_true(value);
    } else if (name == "IP") {
        if (!value.empty()) read_ips(value, arguments);
    } else if (name == "MAC") {
        if (value.empty()) return;
        arguments.mac = MacAddress::parse(value);
        if (!arguments.mac || arguments.mac->is_multicast() || arguments.mac->is_zero()) {
            bad_argument("has MAC=" + shown(value) + ", which is not a unicast MAC address");
        }
    } else if (name == "VIADUCT_LABELS") {
        Faults faults;
        arguments.pod_labels = parse_labels(value, "", faults);
        if (!faults.empty()) bad_argument("has VIADUCT_LABELS, which " + faults.front().reason);
    } else if (name.starts_with("K8S_")) {
        arguments.labels[name] = value;
    } else {
        unknown += (unknown.empty() ? "" : ", ") + shown(name);
    }
}

}  // namespace

Arguments read_arguments(const std::string& text) {
    Arguments arguments;
    std::string unknown;
    bool ignore = false;
    if (text.size() > 64U << 10U) bad_argument("is longer than 65536 bytes");
    for (std::size_t at = 0; at < text.size();) {
        const auto end = std::min(text.find(';', at), text.size());
        const auto pair = text.substr(at, end - at);
        at = end + 1;
        if (pair.empty()) continue;
        const auto equals = pair.find('=');
        if (equals == std::string::npos || equals == 0)
            bad_argument("has " + shown(pair) + ", which is not KEY=VALUE");
        read_pair(pair.substr(0, equals), pair.substr(equals + 1), arguments, unknown, ignore);
    }
    if (!unknown.empty() && !ignore) {
        bad_argument("has the unknown keys " + unknown + ", and no IgnoreUnknown=1 that would let them pass");
    }
    return arguments;
}

}  // namespace viaduct::cni
