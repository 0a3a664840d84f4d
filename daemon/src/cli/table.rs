//! SAs as they come from `list-sas`, for people and for programs.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value as Json, json};

use crate::control::vici::{Message, Value};

/// Tables.
pub(super) fn people(stats: &Message, sas: &[Message], connections: &[Message]) -> String {
    let uptime = stats.section("uptime").and_then(|uptime| uptime.text("running")).unwrap_or("?");
    let down = down(sas, connections);
    let offloads = match stats.list("offloads").join(" ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    if sas.is_empty() {
        return format!("up {uptime}, no security associations\noffloads: {offloads}\n{down}");
    }
    let mut ikes = table(&["connection", "state", "local", "remote", "algorithms", "age", "rekey in"]);
    let mut children = table(&["child", "state", "SPI in/out", "local", "remote", "cipher", "in", "out", "rekey in"]);
    for (name, ike) in sas.iter().flat_map(Message::sections) {
        let text = |key| ike.text(key).unwrap_or("");
        let end = |side: &str| {
            let key = |what: &str| ike.text(&format!("{side}-{what}")).unwrap_or("");
            format!("{}\n{}:{}", key("id"), bracketed(key("host")), key("port"))
        };
        let role = if ike.flag("initiator") { "initiator" } else { "responder" };
        ikes.add_row([
            format!("{name}[{}]", text("uniqueid")),
            format!("{}\n{role}", text("state")),
            end("local"),
            end("remote"),
            format!("{}\n{}\n{}", cipher(ike), text("prf-alg"), text("dh-group")),
            time(text("established")),
            time(text("rekey-time")),
        ]);
        for (_, child) in ike.section("child-sas").into_iter().flat_map(Message::sections) {
            let text = |key| child.text(key).unwrap_or("");
            let traffic = |way: &str| {
                let key = |what: &str| child.text(&format!("{what}-{way}")).unwrap_or("0");
                format!("{}\n{} packets", octets(key("bytes")), key("packets"))
            };
            let carrier = if child.flag("encap") { "in UDP" } else { "protocol 50" };
            children.add_row([
                format!("{name}/{}{{{}}}", text("name"), text("uniqueid")),
                match child.text("cpu") {
                    Some(number) => format!("{}\nworker {number}", text("state")),
                    None => text("state").to_owned(),
                },
                format!("{}\n{}", text("spi-in"), text("spi-out")),
                child.list("local-ts").join("\n"),
                child.list("remote-ts").join("\n"),
                format!("{}\n{carrier}", cipher(child)),
                traffic("in"),
                traffic("out"),
                time(text("rekey-time")),
            ]);
        }
    }
    format!("up {uptime}\noffloads: {offloads}\n{ikes}\n{children}\n{down}")
}

/// Connections that have no IKE SA.
fn idle<'a>(sas: &'a [Message], connections: &'a [Message]) -> impl Iterator<Item = (&'a str, &'a Message)> {
    let up = |name: &str| sas.iter().flat_map(Message::sections).any(|(of, _)| of == name);
    connections.iter().flat_map(Message::sections).filter(move |(name, _)| !up(name))
}

/// A table of those, if there are any: why they are down, as far as is known.
fn down(sas: &[Message], connections: &[Message]) -> String {
    let mut rows = table(&["connection", "remote", "children", "why there is no SA"]);
    for (name, connection) in idle(sas, connections) {
        let children: Vec<_> = connection.section("children").into_iter().flat_map(Message::sections).collect();
        let shown: Vec<String> = children
            .iter()
            .map(|(child, about)| format!("{child}: {}", about.text("start_action").unwrap_or("none")))
            .collect();
        let why = match (connection.text("last_failure"), connection.text("last_failure_age")) {
            (Some(reason), Some(age)) => format!("failed {} ago: {reason}", time(age)),
            _ if children.iter().all(|(_, about)| about.text("start_action") == Some("none")) => {
                "the peer begins, or `cygnet up`".to_owned()
            }
            _ => "no traffic asked for it yet, or it is about to be dialled".to_owned(),
        };
        rows.add_row([name.to_owned(), connection.list("remote_addrs").join("\n"), shown.join("\n"), why]);
    }
    if rows.is_empty() { String::new() } else { rows.to_string() }
}

/// One document: `{"uptime": ..., "ike_sas": [{"connection": ..., ..., "children": [...]}], "down": [{"connection": ...}],
/// "packets": {...}}`. Keys are those of vici with `_` for `-`; counts and seconds are numbers, flags are there or not.
pub(super) fn json(stats: &Message, sas: &[Message], connections: &[Message]) -> Json {
    let down = idle(sas, connections).map(|(name, connection)| {
        let mut object = object(connection);
        object.insert("connection".to_owned(), json!(name));
        Json::Object(object)
    });
    let ikes = sas.iter().flat_map(Message::sections).map(|(name, ike)| {
        let mut object = object(ike);
        let children = ike.section("child-sas").into_iter().flat_map(Message::sections);
        object.insert("connection".to_owned(), json!(name));
        object.insert("children".to_owned(), children.map(|(_, child)| Json::Object(self::object(child))).collect());
        Json::Object(object)
    });
    let section = |name| stats.section(name).map(object).unwrap_or_default();
    json!({ "uptime": section("uptime"), "ike_sas": ikes.collect::<Vec<_>>(), "down": down.collect::<Vec<_>>(), "offloads": stats.list("offloads"), "packets": section("packets") })
}

fn object(section: &Message) -> Map<String, Json> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut object = Map::new();
    for (name, value) in section.entries() {
        let value = match value {
            Value::Scalar(octets) => scalar(name, text(octets)),
            Value::List(items) => items.iter().map(|item| Json::String(text(item))).collect(),
            Value::Section(_) => continue,
        };
        object.insert(name.replace('-', "_"), value);
    }
    object
}

/// Numbers as numbers, but never what only looks like one: SPIs, names, identities.
pub(super) fn scalar(name: &str, text: String) -> Json {
    const TEXT: [&str; 11] = [
        "spi-in",
        "spi-out",
        "initiator-spi",
        "responder-spi",
        "name",
        "policy",
        "peer",
        "local-id",
        "remote-id",
        "local-host",
        "remote-host",
    ];
    match (text.parse::<u64>(), text.as_str()) {
        _ if TEXT.contains(&name) => Json::String(text),
        (Ok(number), _) => json!(number),
        (_, "yes") => Json::Bool(true),
        _ => Json::String(text),
    }
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// `AES_GCM_16-256`, `AES_CBC-128/HMAC_SHA2_256_128`, as swanctl writes it.
pub(super) fn cipher(sa: &Message) -> String {
    let bits = sa.text("encr-keysize").map_or(String::new(), |bits| format!("-{bits}"));
    let integ = sa.text("integ-alg").map_or(String::new(), |integ| format!("/{integ}"));
    format!("{}{bits}{integ}", sa.text("encr-alg").unwrap_or(""))
}

pub(super) fn time(seconds: &str) -> String {
    match seconds.parse::<u64>() {
        Err(_) => String::new(),
        Ok(seconds @ 0..120) => format!("{seconds}s"),
        Ok(seconds @ 120..7200) => format!("{}m", seconds / 60),
        Ok(seconds @ 7200..172_800) => format!("{}h", seconds / 3600),
        Ok(seconds) => format!("{}d", seconds / 86400),
    }
}

pub(super) fn octets(count: &str) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Ok(mut amount) = count.parse::<f64>() else { return count.to_owned() };
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{amount} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sas() -> Vec<Message> {
        let child = Message::new()
            .with("name", "net")
            .with("uniqueid", 2)
            .with("state", "INSTALLED")
            .with("spi-in", "00000042")
            .with("encap", "yes")
            .with("encr-alg", "AES_GCM_16")
            .with("encr-keysize", 128)
            .with("bytes-in", 1536)
            .with("cpu", 3)
            .with_list("local-ts", ["10.1.0.0/16"]);
        let ike = Message::new()
            .with("uniqueid", 1)
            .with("state", "ESTABLISHED")
            .with("local-host", "2001:db8::1")
            .with("local-port", 4500)
            .with_section("child-sas", Message::new().with_section("net-2", child));
        vec![Message::new().with_section("site-b", ike)]
    }

    fn connection(name: &str) -> Message {
        let children = Message::new().with_section("net", Message::new().with("start_action", "trap"));
        let about = Message::new()
            .with_list("remote_addrs", ["192.0.2.2"])
            .with("last_failure", "the peer does not answer")
            .with("last_failure_age", 7)
            .with_section("children", children);
        Message::new().with_section(name, about)
    }

    #[test]
    fn json_is_typed_and_stable() {
        let stats = Message::new().with_section("uptime", Message::new().with("running", "3 minutes"));
        let document = json(&stats, &sas(), &[connection("site-b"), connection("other")]);
        assert_eq!(
            (&document["down"][0]["connection"], document["down"].as_array().map(Vec::len)),
            (&json!("other"), Some(1))
        );
        assert_eq!(document["uptime"]["running"], "3 minutes");
        let ike = &document["ike_sas"][0];
        assert_eq!((&ike["connection"], &ike["uniqueid"]), (&json!("site-b"), &json!(1)));
        let child = &ike["children"][0];
        assert_eq!((&child["spi_in"], &child["bytes_in"]), (&json!("00000042"), &json!(1536)));
        assert_eq!((&child["encap"], &child["local_ts"]), (&json!(true), &json!(["10.1.0.0/16"])));
    }

    #[test]
    fn people_see_names_and_units() {
        let shown = people(&Message::new(), &sas(), &[connection("site-b"), connection("other")]);
        assert!(shown.contains("failed 7s ago: the peer does not answer") && shown.contains("net: trap"), "{shown}");
        for wanted in ["site-b[1]", "site-b/net{2}", "AES_GCM_16-128", "1.5 KiB", "worker 3", "[2001:db8::1]:4500"] {
            assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
        }
        assert!(people(&Message::new(), &[], &[]).contains("no security associations"));
    }
}
