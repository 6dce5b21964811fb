//! The page for people: plain HTML, no scripts, everything escaped.

use std::fmt::Write as _;

use reachd_core::judge::Class;
use reachd_core::snapshot::{Snapshot, TargetRow, VantageRow};

/// Rows shown at most, the worst first; the rest is counted.
const MAX_ROWS: usize = 1000;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>reachd</title><style>\
body{font:1rem/1.4 sans-serif;margin:1rem}table{border-collapse:collapse}\
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ccc;vertical-align:top}\
.bad{color:#a00;font-weight:bold}.odd{color:#850}\
</style></head><body>\n<h1>reachd</h1>\n";

/// Writes the page.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut rows: Vec<&TargetRow> = snapshot.targets.iter().collect();
    // Stable: within a rank, by name.
    rows.sort_by_key(|row| rank(row.class));
    let failing = rows.iter().filter(|row| rank(row.class) == 0).count();
    let mut page = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "<p>{} targets, {failing} not reachable, {} watched by nobody.</p>",
        rows.len(),
        snapshot.unwatched
    );
    page.push_str("<h2>Targets</h2>\n<table><tr><th>Target<th>Class<th>Confidence");
    page.push_str("<th>As of<th>What was seen</tr>\n");
    for row in rows.iter().take(MAX_ROWS) {
        target(&mut page, row);
    }
    page.push_str("</table>\n");
    if rows.len() > MAX_ROWS {
        let _ = writeln!(page, "<p>{} more are not shown.</p>", rows.len() - MAX_ROWS);
    }
    page.push_str("<h2>Vantages</h2>\n<table><tr><th>Vantage<th>Role<th>Mode<th>State</tr>\n");
    for row in &snapshot.vantages {
        vantage(&mut page, row);
    }
    page.push_str("</table>\n<p><a href=\"/metrics\">metrics</a> ");
    page.push_str("<a href=\"/api/v1/targets\">targets</a> ");
    page.push_str("<a href=\"/api/v1/incidents\">incidents</a></p>\n</body></html>\n");
    page
}

const fn rank(class: Class) -> u8 {
    match class {
        Class::Reachable => 3,
        Class::Unknown | Class::VantageFault => 2,
        Class::PacketLoss => 1,
        Class::PartialPath
        | Class::Blackhole
        | Class::NoRoute
        | Class::RoutingLoop
        | Class::HostSilent
        | Class::SecurityGroup
        | Class::SourceBlocked
        | Class::Rejected
        | Class::PortClosed
        | Class::ResetInjected
        | Class::MtuBlackhole
        | Class::ServiceHung
        | Class::WrongService
        | Class::RdpRefused
        | Class::Certificate
        | Class::DnsFailure => 0,
    }
}

fn target(page: &mut String, row: &TargetRow) {
    let report = row.report.as_ref();
    let confidence = report.map(|report| format!("{:.0} %", report.verdict.confidence * 100.0));
    let style = match rank(row.class) {
        0 => " class=\"bad\"",
        3 => "",
        _ => " class=\"odd\"",
    };
    let _ = writeln!(
        page,
        "<tr><td>{}<td{style}>{}<td>{}<td>{}<td>{}</tr>",
        escape(row.target.name.as_str()),
        escape(row.class.title().en),
        escape(&confidence.unwrap_or_default()),
        escape(report.and_then(|report| report.started.as_deref()).unwrap_or_default()),
        escape(report.map_or("", |report| &report.verdict.summary)),
    );
}

fn vantage(page: &mut String, row: &VantageRow) {
    let state = if row.healthy { "believed" } else { "withdrawn" };
    let fault = row.fault.as_deref().map(|fault| format!(": {fault}")).unwrap_or_default();
    let mode = row.mode.map_or("closed", reachd_core::vantage::Mode::as_str);
    let _ = writeln!(
        page,
        "<tr><td>{}<td>{}<td>{mode}<td>{state}{}</tr>",
        escape(&row.name),
        row.role.as_str(),
        escape(&fault)
    );
}

/// Text as HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_worst_come_first_and_nothing_gets_through_unescaped() {
        let mut snapshot = fixture::snapshot();
        snapshot.targets.reverse();
        snapshot.vantages[0].fault = Some("<script>alert(1)</script>\"'&".to_owned());
        let page = render(&snapshot);
        let silent = page.find("suspected blackhole").unwrap();
        assert!(silent < page.find("not enough evidence").unwrap());
        assert!(page.contains("Suspected blackhole &lt;b&gt;."));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
        assert!(!page.contains("<script"));
        assert!(page.contains("2 targets, 1 not reachable, 0 watched by nobody."));
    }
}
