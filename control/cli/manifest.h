// Files of manifests, and objects in them, as the commands that apply, compare and delete them name them.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace viaduct::cli {

/// The files of -f as {"files": [{"text", "file"}, ...]}: "-" is standard input, a directory's manifests are
/// those that viaduct-control would read there. Throws Usage when there is no -f, Failure when one cannot be
/// read.
Json::Value manifests_body(const Session& session);
/// "service apps/web", "node a"
std::string object_name(const Json::Value& object);
/// An object's manifest as a document of YAML.
std::string yaml_of(const Json::Value& manifest);
/// Says on standard error that documents of other kinds were passed over.
void note_passed_over(const Json::Value& answer);

}  // namespace viaduct::cli
