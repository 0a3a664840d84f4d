//! `sad`, `spd`, `explain flow` and `policy readiness`: for people, and with `--json` for programs.

use std::fmt::Write as _;
use std::path::Path;

use miette::Report;
use serde_json::{Map, Value as Json};

use super::sa::{connect, failed};
use super::table::{cipher, octets, scalar, table, time};
use super::{client_runtime, print};
use crate::control::vici::{Message, Value};

/// Runs `command` and gives the entries that it streams, each with its name.
fn entries(socket: &Path, command: &str) -> Result<Vec<(String, Message)>, Report> {
    client_runtime()?.block_on(async {
        let mut client = connect(socket).await?;
        client.register(command).await.map_err(failed)?;
        let mut all = Vec::new();
        let each =
            |_: &str, event: Message| all.extend(event.sections().map(|(n, entry)| (n.to_owned(), entry.clone())));
        client.call(command, Message::new(), each).await.map_err(failed)?;
        Ok(all)
    })
}

/// A list of objects; keys are those of vici with `_` for `-`.
fn json(entries: &[(String, Message)]) -> Json {
    entries
        .iter()
        .map(|(name, entry)| {
            let mut object = object(entry);
            object.insert("name".to_owned(), Json::String(name.clone()));
            Json::Object(object)
        })
        .collect()
}

fn object(message: &Message) -> Map<String, Json> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let value = |name: &str, value: &Value| match value {
        Value::Scalar(octets) => scalar(name, text(octets)),
        Value::List(items) => items.iter().map(|item| Json::String(text(item))).collect(),
        Value::Section(section) => Json::Object(object(section)),
    };
    message.entries().map(|(name, entry)| (name.replace('-', "_"), value(name, entry))).collect()
}

pub(super) fn sad(socket: &Path, as_json: bool) -> Result<(), Report> {
    let entries = entries(socket, "list-sad")?;
    if as_json {
        return print(format_args!("{:#}", json(&entries)));
    }
    if entries.is_empty() {
        return print(format_args!("no security associations"));
    }
    entries.iter().try_for_each(|(_, entry)| print(format_args!("{}", pair(entry))))
}

/// One pair, both directions, as `setkey -D` shows each.
fn pair(entry: &Message) -> String {
    let text = |key: &str| entry.text(key).unwrap_or("");
    let mut shown = format!(
        "{} {{{}}}  {} {}, {}, reqid {}, {}\n",
        text("policy"),
        text("uniqueid"),
        text("mode").to_lowercase(),
        text("protocol").to_lowercase(),
        text("state"),
        text("reqid"),
        text("origin")
    );
    let carrier = match entry.flag("encap") {
        true => format!("in UDP, ports {} {}", text("local-port"), text("remote-port")),
        false => "IP protocol 50".to_owned(),
    };
    let _ = writeln!(shown, "  {} === {}", entry.list("local-ts").join(" "), entry.list("remote-ts").join(" "));
    let window = match text("replay-window") {
        "0" => "no protection against replay".to_owned(),
        window => format!("replay window {window}"),
    };
    let esn = if entry.flag("esn") { ", ESN" } else { "" };
    let mtu = entry.text("inner-mtu").map_or(String::new(), |mtu| format!(", inner MTU {mtu}"));
    let _ = writeln!(shown, "  {}{esn}, {window}{mtu}, {carrier}", cipher(entry));
    if let Some(group) = entry.text("group") {
        let serves = entry.text("resource").map_or("all workers".to_owned(), |number| format!("worker {number}"));
        let _ = writeln!(shown, "  one of several, {{{group}}}: serves {serves}");
    }
    for (way, from, to) in [("in", "remote", "local"), ("out", "local", "remote")] {
        let key = |what: &str| entry.text(&format!("{what}-{way}"));
        let host = |end: &str| entry.text(&format!("{end}-host")).unwrap_or("");
        let _ = writeln!(
            shown,
            "  {way:<3} {} -> {}  spi {}  seq {}  {} in {} packets, last used {}",
            host(from),
            host(to),
            key("spi").unwrap_or(""),
            key("sequence").unwrap_or("0"),
            octets(key("bytes").unwrap_or("0")),
            key("packets").unwrap_or("0"),
            key("use").map_or("never".to_owned(), |seconds| format!("{} ago", time(seconds)))
        );
    }
    let _ = write!(shown, "  age {}", time(text("install-time")));
    for which in ["soft", "hard"] {
        let limit = |unit: &str| entry.text(&format!("{which}-{unit}"));
        let parts = [
            limit("time").map(time),
            limit("bytes").map(octets),
            limit("packets").map(|packets| format!("{packets} packets")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let shown_limits = if parts.is_empty() { "never".to_owned() } else { parts.join(", ") };
        let _ = write!(shown, "; {which} limit {shown_limits}");
    }
    let drops: Vec<String> = entry
        .section("drops")
        .into_iter()
        .flat_map(Message::entries)
        .filter_map(|(name, value)| match value {
            Value::Scalar(count) => Some(format!("{name} {}", String::from_utf8_lossy(count))),
            _ => None,
        })
        .collect();
    if !drops.is_empty() {
        let _ = write!(shown, "\n  dropped: {}", drops.join(", "));
    }
    shown
}

pub(super) fn spd(socket: &Path, as_json: bool) -> Result<(), Report> {
    let entries = entries(socket, "list-spd")?;
    if as_json {
        return print(format_args!("{:#}", json(&entries)));
    }
    let mut rows = table(&["policy", "local", "remote", "action", "SAs", "in", "out", "in the clear"]);
    for (name, entry) in &entries {
        let text = |key: &str| entry.text(key).unwrap_or("");
        let action = match text("action") {
            "protect" => {
                let (inward, outward) = (text("level-in"), text("level-out"));
                let level = if inward == outward { inward.to_owned() } else { format!("{inward} in, {outward} out") };
                format!(
                    "{}\n{level}\nwithout SA: {}, {}",
                    text("mode").to_lowercase(),
                    text("while-negotiating"),
                    text("after-failure")
                )
            }
            action => action.to_owned(),
        };
        let traffic = |way: &str| match entry.text(&format!("bytes-{way}")) {
            None => String::new(),
            Some(bytes) => {
                let packets = entry.text(&format!("packets-{way}")).unwrap_or("0");
                format!("{}\n{packets} packets", octets(bytes))
            }
        };
        rows.add_row([
            format!("{name}\n{}", text("place")),
            entry.list("local-ts").join("\n"),
            entry.list("remote-ts").join("\n"),
            action,
            text("sas").to_owned(),
            traffic("in"),
            traffic("out"),
            ["in", "out"]
                .iter()
                .filter_map(|way| Some(format!("{way} {}", entry.text(&format!("clear-packets-{way}"))?)))
                .chain(
                    ["in", "out"].iter().filter_map(|way| {
                        Some(format!("dropped {way} {}", entry.text(&format!("clear-dropped-{way}"))?))
                    }),
                )
                .collect::<Vec<_>>()
                .join("\n"),
        ]);
    }
    print(format_args!("{rows}"))
}

pub(super) fn explain(socket: &Path, words: &[String], as_json: bool) -> Result<(), Report> {
    let answer = client_runtime()?.block_on(async {
        let mut client = connect(socket).await?;
        client.call("explain-flow", Message::new().with_list("flow", words), |_, _| {}).await.map_err(failed)
    })?;
    if as_json {
        return print(format_args!("{:#}", Json::Object(object(&answer))));
    }
    let text = |key: &str| answer.text(key).unwrap_or("");
    print(format_args!("policy  {}\nSA      {}\npacket  {}", text("policy"), text("sa"), text("fate")))
}

pub(super) fn readiness(socket: &Path, as_json: bool) -> Result<(), Report> {
    let entries = entries(socket, "policy-readiness")?;
    if as_json {
        return print(format_args!("{:#}", json(&entries)));
    }
    let mut rows = table(&["policy", "peer", "protected", "clear in", "last", "clear out", "`require`"]);
    for (name, entry) in &entries {
        let text = |key: &str| entry.text(key).unwrap_or("");
        let verdict = if entry.flag("ready") { "safe" } else { "not yet" };
        rows.add_row([
            name.clone(),
            entry.text("peer").unwrap_or("all").to_owned(),
            entry.text("protected-for").map_or("no".to_owned(), |seconds| format!("for {}", time(seconds))),
            format!("{}\n{} packets", octets(text("clear-bytes-in")), text("clear-packets-in")),
            entry.text("last-clear-in").map_or("never".to_owned(), |seconds| format!("{} ago", time(seconds))),
            format!("{} packets", text("clear-packets-out")),
            format!("{verdict}\n{}", text("reason")),
        ]);
    }
    print(format_args!("{rows}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Message {
        Message::new()
            .with("policy", "site/net")
            .with("uniqueid", 7)
            .with("state", "active")
            .with("mode", "TRANSPORT")
            .with("protocol", "ESP")
            .with("spi-in", "00000042")
            .with("sequence-out", 9)
            .with("encap", "yes")
            .with("encr-alg", "AES_GCM_16")
            .with("encr-keysize", 256)
            .with("replay-window", 0)
            .with("group", 5)
            .with("resource", 3)
            .with("bytes-in", 2048)
            .with("soft-time", 3600)
            .with_section("drops", Message::new().with("in-replayed", 3))
            .with_list("local-ts", ["10.1.0.0/16"])
    }

    #[test]
    fn a_pair_shows_what_setkey_shows() {
        let shown = pair(&entry());
        for wanted in [
            "site/net {7}  transport esp, active",
            "AES_GCM_16-256, no protection against replay",
            "one of several, {5}: serves worker 3",
            "spi 00000042",
            "2.0 KiB in 0 packets, last used never",
            "soft limit 60m; hard limit never",
            "dropped: in-replayed 3",
        ] {
            assert!(shown.contains(wanted), "`{wanted}` is not in\n{shown}");
        }
    }

    #[test]
    fn json_nests_and_types() {
        let document = json(&[("site/net-7".to_owned(), entry())]);
        assert_eq!(document[0]["name"], "site/net-7");
        assert_eq!((&document[0]["spi_in"], &document[0]["sequence_out"]), (&json!("00000042"), &json!(9)));
        assert_eq!((&document[0]["drops"]["in_replayed"], &document[0]["encap"]), (&json!(3), &json!(true)));
    }
}
