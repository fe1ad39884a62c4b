// viaduct log: how much the daemons write to their logs.
#include <iostream>

#include <json/json.h>

#include "cli/session.h"

namespace viaduct::cli {

namespace {

void print(const Json::Value& levels) {
    std::cout << "control " << text_of(levels, "level") << "\n";
    const auto dataplane = text_of(levels, "dataplane_level");
    std::cout << "dataplane " << (dataplane.empty() ? "unknown: " + text_of(levels, "note") : dataplane)
              << "\n";
}

int show(Session& session) {
    session.words.done();
    const auto levels = session.ask("GET", "/v1/log");
    if (!session.printed(levels)) print(levels);
    return 0;
}

int level(Session& session) {
    const auto name =
        session.words.keyword({"trace", "debug", "info", "warning", "error", "critical", "off"});
    session.words.done();
    if (session.arguments.dry_run) throw Usage("--dry-run is for changes of the configuration");
    Json::Value body;
    body[session.arguments.dataplane ? "dataplane_level" : "level"] = name;
    const auto levels = session.ask("PUT", "/v1/log", body);
    if (session.arguments.json) session.printed(levels);
    return 0;
}

}  // namespace

Object log_object() {
    return {"log",
            "levels of the daemons' logs",
            {{"show", {"list", "ls"}, "", "the levels now", show},
             {"level",
              {"set"},
              "LEVEL [--dataplane]",
              "change control's, or with --dataplane the dataplane's",
              level}},
            "Levels: trace, debug, info (default), warning, error, critical, off. Lasts until the daemon "
            "ends. The logs\n"
            "themselves: journalctl -u viaduct-control -u viaduct-dataplane\n",
            {"viaduct log level debug", "viaduct log level debug --dataplane", "viaduct -j log show"}};
}

}  // namespace viaduct::cli
