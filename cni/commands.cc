#include "commands.h"

#include <json/json.h>

#include "viaduct/json.h"

#include "control.h"
#include "delegate.h"
#include "error.h"
#include "netns.h"
#include "result.h"

namespace viaduct::cni {

namespace {

using attachment::Owed;

Invocation invocation_of(const char* command, const Environment& environment) {
    return {command,          environment.container, environment.netns, environment.ifname,
            environment.args, environment.path};
}

/// A DEL that somebody else left undone, as he would have made it.
void pay(Control& control, const Owed& owed) {
    const auto& delegation = owed.delegation;
    run_delegate(
        delegation.type,
        {"DEL", owed.key.container, delegation.netns, owed.key.ifname, delegation.args, delegation.path},
        delegation.input);
    control.finish(owed.token);
}

attachment::Attached add_delegated(Control& control, const Environment& environment,
                                   const NetworkConfig& network, attachment::Request& request, int netns) {
    const auto& type = network.ipam_type;
    const attachment::Delegation delegation{type, network.text, environment.netns, environment.args,
                                            environment.path};
    const LifeLine life;
    const auto begun = control.begin(request.key, delegation, life.reading.get());
    // Before our own ADD: plugins know an address by container and interface, and these have the same.
    for (const auto& owed : begun.owed)
        pay(control, owed);
    try {
        take_ipam_result(run_delegate(type, invocation_of("ADD", environment), network.text), type, request);
        add_default_routes(request);
        request.token = begun.token;
        return control.add(request, netns);
    } catch (...) {
        // The first failure is told. Should this one fail too, the delegation stays recorded for the next DEL
        // or GC.
        try {
            pay(control, {request.key, begun.token, delegation});
        } catch (const Error&) {
        }
        throw;
    }
}

std::string add(const Environment& environment, const NetworkConfig& network) {
    const auto arguments = read_arguments(environment.args);
    auto request = read_request(network, environment, arguments);
    const auto netns = open_netns(environment);
    // Its shape is looked at before anything is made.
    make_result(network.version, request, {}, network.previous);
    Control control(network.control_socket);
    const auto attached = network.ipam == Ipam::delegated
                              ? add_delegated(control, environment, network, request, netns.get())
                              : control.add(request, netns.get());
    return to_json_text(make_result(network.version, request, attached, network.previous));
}

/// Whether the recorded delegation is what the configuration at hand delegates, so that one DEL is both.
bool is_the_same(const Owed& owed, const NetworkConfig& network) {
    if (owed.delegation.type != network.ipam_type) return false;
    try {
        return parse_json(owed.delegation.input, "input")["ipam"] == (*network.json)["ipam"];
    } catch (const std::exception&) {
        return false;
    }
}

std::string remove(const Environment& environment, const NetworkConfig& network) {
    const auto netns = open_netns_if_there(environment);
    Control control(network.control_socket);
    // The interface goes first: an address that is free must not be in use any more.
    const auto owed = control.remove({network.name, environment.container, environment.ifname}, netns.get());
    if (network.ipam == Ipam::delegated) {
        run_delegate(network.ipam_type, invocation_of("DEL", environment), network.text);
    }
    for (const auto& one : owed) {
        if (network.ipam == Ipam::delegated && is_the_same(one, network)) {
            control.finish(one.token);
        } else {
            pay(control, one);
        }
    }
    return {};
}

void need_version(const NetworkConfig& network, const char* command, const char* since) {
    if (at_least(network.version, since)) return;
    throw Error(attachment::kIncompatibleVersion, std::string(command) + " came with version " + since +
                                                      " of CNI, and the configuration is of cniVersion " +
                                                      network.version);
}

std::string check(const Environment& environment, const NetworkConfig& network) {
    need_version(network, "CHECK", "0.4.0");
    if (network.previous == nullptr) {
        throw Error(attachment::kInvalidConfig, "prevResult: is required for CHECK, the result of the ADD");
    }
    const auto expected =
        expected_from(*network.previous, {network.name, environment.container, environment.ifname});
    const auto netns = open_netns(environment);
    Control control(network.control_socket);
    control.check(expected, netns.get());
    if (network.ipam == Ipam::delegated) {
        run_delegate(network.ipam_type, invocation_of("CHECK", environment), network.text);
    }
    return {};
}

std::string collect(const Environment& environment, const NetworkConfig& network) {
    need_version(network, "GC", "1.1.0");
    if (!network.valid) return {};  // not told what to keep: nothing may go
    Control control(network.control_socket);
    std::optional<Error> first;
    // One that fails must not keep the others.
    for (const auto& owed : control.collect(network.name, *network.valid)) {
        try {
            pay(control, owed);
        } catch (const Error& error) {
            if (!first) first = error;
        }
    }
    if (network.ipam == Ipam::delegated) {
        run_delegate(network.ipam_type, invocation_of("GC", environment), network.text);
    }
    if (first) throw *first;
    return {};
}

std::string status(const Environment& environment, const NetworkConfig& network) {
    need_version(network, "STATUS", "1.1.0");
    auto asked = environment;
    asked.container = "status";
    asked.ifname = "status";
    const auto request = read_request(network, asked, {});
    Control control(network.control_socket);
    try {
        control.status(request);
    } catch (const Error& error) {
        // To STATUS a control that does not run is no reason to try again, but the answer.
        if (error.code() != attachment::kTryAgain) throw;
        throw Error(attachment::kNotAvailable, error.what(), error.details());
    }
    if (network.ipam == Ipam::delegated) {
        run_delegate(network.ipam_type, invocation_of("STATUS", environment), network.text);
    }
    return {};
}

}  // namespace

std::string run_command(const Environment& environment, const NetworkConfig& network) {
    switch (environment.command) {
        case Command::add:
            return add(environment, network);
        case Command::del:
            return remove(environment, network);
        case Command::check:
            return check(environment, network);
        case Command::gc:
            return collect(environment, network);
        case Command::status:
            return status(environment, network);
        case Command::version:
            break;
    }
    return version_text(versions().back());
}

}  // namespace viaduct::cni
