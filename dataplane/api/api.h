// The dataplane's API: which function answers which request. HTTP and JSON; see the list of routes in api.cc.
#pragma once

#include "viaduct/http.h"

#include "api/state_json.h"

namespace viaduct::dataplane {

/// Any thread, several at once. The dataplane outlives it.
class Api {
public:
    Api(Identity identity, Dataplane& dataplane) : identity_(std::move(identity)), dataplane_(dataplane) {}

    /// Throws Refused, which the server answers with 400; 404 and 405 have the same form.
    http::Response answer(http::Request& request);

private:
    struct Route;

    http::Response post_transaction(http::Request& request);
    http::Response get_config(http::Request& request);
    http::Response get_info(http::Request& request);
    http::Response get_ports(http::Request& request);
    http::Response get_stats(http::Request& request);
    http::Response get_drops(http::Request& request);
    http::Response get_fdb(http::Request& request);
    http::Response get_nat(http::Request& request);
    http::Response get_services(http::Request& request);
    http::Response get_neighbours(http::Request& request);
    http::Response post_neighbours_flush(http::Request& request);
    http::Response post_fdb_flush(http::Request& request);
    http::Response get_flows(http::Request& request);
    http::Response get_flows_count(http::Request& request);
    http::Response post_flows_flush(http::Request& request);
    http::Response post_trace(http::Request& request);
    http::Response get_log(http::Request& request);
    http::Response put_log(http::Request& request);
    http::Response get_metrics(http::Request& request);

    Identity identity_;
    Dataplane& dataplane_;
};

}  // namespace viaduct::dataplane
