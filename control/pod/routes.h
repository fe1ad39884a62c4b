// Attachments over HTTP: what the CNI plugin and the command line ask.
//
//   POST /v1/attachments          ADD: attachment::Request; the namespace as a descriptor ->
//   attachment::Attached POST /v1/attachments/begin    {key..., "delegation": {...}}; a pipe's reading end ->
//   {"token", "owed": [...]} POST /v1/attachments/finish   {"token"}: a delegated IPAM plugin's DEL was made
//   -> {} POST /v1/attachments/delete   DEL: {key...}; the namespace if there is one -> {"removed": bool,
//   "owed": [...]} POST /v1/attachments/check    CHECK: attachment::Expected; the namespace -> {} POST
//   /v1/attachments/gc       {"network", "valid": [{"container", "ifname"}]} -> {"removed": [...], "owed":
//   [...]} POST /v1/attachments/status   STATUS: {"network", "bridge", "vlan", "ranges", "exclude"}: as in
//   Request -> {} GET  /v1/attachments          ?network= &container= &ifname= -> {"attachments": [...]}
//
//   POST /v1/pods/label   {"pod": "default/web", "set": {"app": "web"}, "remove": ["tier"], "overwrite":
//   false}
//   -> {"pod", "labels"}; in force when it answers
//
// A refusal has, besides "error", CNI's number as "code".
#pragma once

#include <functional>

#include "api/router.h"
#include "pod/attachments.h"

namespace viaduct::pod {

/// `settle` is called after labels have changed, and returns when what follows from that is in force, or
/// takes too long.
void register_routes(api::Router& router, Attachments& attachments, std::function<void()> settle = {});

}  // namespace viaduct::pod
