// Objects as manifests again, for those who ask what is in force: what `viaduct get -o json` and `-o yaml`
// show. Reading what is written here gives the same object.
#pragma once

#include <string>
#include <vector>

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"

namespace Json {
class Value;
}

namespace viaduct::kubernetes {

/// As the API has them. What an object does not say is left out, and so is what is not kept of it; the
/// deletionTimestamp of an object that has one is told as year 1, for when it was is not kept.
Json::Value to_json(const Service& service);
/// A slice that was read out of an Endpoints is told as an Endpoints of its one subset.
Json::Value to_json(const EndpointSlice& slice);
Json::Value to_json(const Pod& pod);
Json::Value to_json(const Node& node);
Json::Value to_json(const AnyObject& object);
/// One document that says all that the objects of a Document do: of an Endpoints its subsets together.
Json::Value manifest_of(const ObjectId& id, const std::vector<AnyObject>& objects);

/// Any JSON value as one YAML document, beginning with "---". Text that would be read as something else is
/// in quotes. Throws std::runtime_error where text is no UTF-8.
std::string to_yaml_text(const Json::Value& value);

}  // namespace viaduct::kubernetes
