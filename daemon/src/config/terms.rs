//! On which terms a child protects: mode, level, what happens without an SA, populate-from-packet, headers
//! (RFC 4301 §3.2, §4.4.1.2, §5.1.2).

use cygnet_esp::tunnel::{DfRule, DscpRule, MssRule, Rules};
use cygnet_spd::{Acquire, AfterFailure, Level, Levels, Mode, Pfp, Terms, WhileNegotiating};

use super::reader::Section;

const LEVELS: [(&str, Level); 2] = [("require", Level::Require), ("use", Level::Use)];

/// `mode`, `level`, `while_negotiating`, `after_failure`, `pfp`. What brings up the SA, `start_action` says elsewhere.
pub(super) fn read(section: &Section<'_>) -> Terms {
    let (mode, levels) = (mode(section), levels(section));
    let lenient = levels.outbound == Level::Use;
    let waiting =
        [("hold", WhileNegotiating::Hold), ("drop", WhileNegotiating::Drop), ("clear", WhileNegotiating::Clear)];
    let default = if lenient { WhileNegotiating::Clear } else { WhileNegotiating::Hold };
    let negotiating = section.word("while_negotiating", &waiting).unwrap_or(default);
    let failing = [("drop", AfterFailure::Drop), ("clear", AfterFailure::Clear)];
    let default = if lenient { AfterFailure::Clear } else { AfterFailure::Drop };
    let failed = section.word("after_failure", &failing).unwrap_or(default);
    if !lenient {
        let clear = [
            ("while_negotiating", "hold", negotiating == WhileNegotiating::Clear),
            ("after_failure", "drop", failed == AfterFailure::Clear),
        ];
        for (key, strict, _) in clear.into_iter().filter(|(.., clear)| *clear) {
            let remedy = format!("{key} = \"{strict}\", or level = {{ in = \"require\", out = \"use\" }}");
            let message = format!("`{key}` would send in the clear what `level` requires to be protected");
            section.mistake(key, message, "only with the level `use`", remedy);
        }
    }
    Terms { mode, levels, acquire: Acquire::Packet, negotiating, failed, pfp: pfp(section) }
}

/// `mode`.
pub(super) fn mode(section: &Section<'_>) -> Mode {
    section.word("mode", &[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)]).unwrap_or_default()
}

/// `level`: one word for both directions, or `{ in, out }`.
pub(super) fn levels(section: &Section<'_>) -> Levels {
    if !section.is_table("level") {
        let level = section.word("level", &LEVELS).unwrap_or_default();
        return Levels { inbound: level, outbound: level };
    }
    let Some(each) = section.section("level", format!("`level` of {}", section.title)) else {
        return Levels::default();
    };
    let inbound = each.word("in", &LEVELS).unwrap_or_default();
    let outbound = each.word("out", &LEVELS).unwrap_or_default();
    each.finish();
    Levels { inbound, outbound }
}

/// `pfp`: what an SA takes from the packet that asks for it.
fn pfp(section: &Section<'_>) -> Pfp {
    let mut pfp = Pfp::default();
    let known = "\"local_address\", \"remote_address\", \"protocol\", \"local_port\", \"remote_port\"";
    let texts = section.parse_list("pfp", known, |word| match word {
        "local_address" | "remote_address" | "protocol" | "local_port" | "remote_port" => Ok(word.to_owned()),
        _ => Err("not a selector".to_owned()),
    });
    for word in texts.unwrap_or_default() {
        let flag = match word.as_str() {
            "local_address" => &mut pfp.local_address,
            "remote_address" => &mut pfp.remote_address,
            "protocol" => &mut pfp.protocol,
            "local_port" => &mut pfp.local_port,
            _ => &mut pfp.remote_port,
        };
        *flag = true;
    }
    pfp
}

/// `df`, `copy_dscp`, `clamp_mss`.
pub(super) fn headers(section: &Section<'_>) -> Rules {
    let df = [("copy", DfRule::Copy), ("set", DfRule::Set), ("clear", DfRule::Clear)];
    let dscp = match section.flag("copy_dscp") {
        Some(false) => DscpRule::Set(0),
        _ => DscpRule::Copy,
    };
    let mss = if section.is_integer("clamp_mss") {
        let limit = section.integer("clamp_mss", 88..=9000);
        limit.map_or(MssRule::Keep, |limit| MssRule::AtMost(u16::try_from(limit).expect("the range was checked")))
    } else if section.flag("clamp_mss") == Some(true) {
        MssRule::Path
    } else {
        MssRule::Keep
    };
    Rules { df: section.word("df", &df).unwrap_or_default(), dscp, mss, ..Rules::default() }
}
