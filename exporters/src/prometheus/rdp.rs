//! What looks at RDP servers show, as series; whatever is not known has none.

use reachd_core::accounting::BUCKET_BOUNDS;
use reachd_core::evidence::rdp::{NtlmOutcome, RdpStage};
use reachd_core::snapshot::ViewRow;
use reachd_core::wire::certificate::Certificate;

use super::families::Pen;

fn certificate(row: &ViewRow) -> Option<&Certificate> {
    row.rdp.as_ref()?.look.shown()?.certificate.as_ref().ok()
}

/// Stages appear on first use.
pub(super) fn stages(mut pen: Pen<'_>, row: &ViewRow) {
    let Some(rdp) = &row.rdp else { return };
    let known = RdpStage::ALL.iter().zip(&rdp.stages).filter(|(_, times)| times.count > 0);
    for (stage, times) in known {
        let stage = stage.as_str();
        let mut cumulative = 0;
        for (bound, count) in BUCKET_BOUNDS.iter().zip(times.buckets) {
            cumulative += count;
            pen.suffixed("_bucket").label("stage", stage).bound(*bound).count(cumulative);
        }
        pen.suffixed("_bucket").label("stage", stage).bound(f64::INFINITY).count(times.count);
        pen.suffixed("_sum").label("stage", stage).value(times.sum);
        pen.suffixed("_count").label("stage", stage).count(times.count);
    }
}

pub(super) fn moment(mut pen: Pen<'_>, row: &ViewRow, of: impl Fn(&Certificate) -> i64) {
    let Some(seconds) = certificate(row).map(of) else { return };
    match u64::try_from(seconds) {
        Ok(seconds) => pen.series().count(seconds),
        // Years before 1970 fit as well as any number of seconds that a calendar has.
        Err(_) => pen.series().value(i32::try_from(seconds).map_or(f64::NEG_INFINITY, f64::from)),
    }
}

pub(super) fn certificate_info(mut pen: Pen<'_>, row: &ViewRow) {
    let shown = row.rdp.as_ref().and_then(|rdp| rdp.look.shown());
    let (Some(shown), Some(certificate)) = (shown, certificate(row)) else { return };
    let key = certificate.public_key;
    let bits = key.bits.map_or_else(String::new, |bits| bits.to_string());
    let weak = if certificate.signature_algorithm.is_weak() { "true" } else { "false" };
    let series = pen.series().label("issuance", certificate.issuance.as_str());
    let series = series.label("key_type", key.algorithm.as_str()).label("key_bits", &bits);
    series.label("weak_signature", weak).label("tls_version", shown.version.as_str()).count(1);
}

pub(super) fn security(mut pen: Pen<'_>, row: &ViewRow) {
    let Some(rdp) = &row.rdp else { return };
    if let (Some(layer), Some(nla)) = rdp.look.security() {
        pen.series().label("layer", layer.as_str()).label("nla", nla.as_str()).count(1);
    }
}

pub(super) fn clock_skew(mut pen: Pen<'_>, row: &ViewRow) {
    let ntlm = row.rdp.as_ref().and_then(|rdp| rdp.look.ntlm.as_ref());
    if let Some(skew) = ntlm.and_then(NtlmOutcome::skew_seconds) {
        pen.series().value(skew);
    }
}

/// Names are a hostile server's to choose: a label takes this many characters of one.
const NAME_MAX: usize = 255;

pub(super) fn machine_info(mut pen: Pen<'_>, row: &ViewRow) {
    let ntlm = row.rdp.as_ref().and_then(|rdp| rdp.look.ntlm.as_ref());
    let Some(NtlmOutcome::Challenged { challenge, .. }) = ntlm else { return };
    let build = challenge.version.map(|version| version.to_string()).unwrap_or_default();
    let series = pen.series().label("build", &build);
    if !row.rdp_names {
        return series.count(1);
    }
    let name = |dns: &Option<String>, netbios: &Option<String>| -> String {
        let name = dns.as_ref().or(netbios.as_ref());
        name.into_iter().flat_map(|name| name.chars()).take(NAME_MAX).collect()
    };
    let computer = name(&challenge.dns_computer_name, &challenge.netbios_computer_name);
    let domain = name(&challenge.dns_domain_name, &challenge.netbios_domain_name);
    series.label("computer", &computer).label("domain", &domain).count(1);
}

pub(super) fn changes(mut pen: Pen<'_>, row: &ViewRow) {
    if let Some(rdp) = row.rdp.as_ref().filter(|rdp| rdp.fingerprint.is_some()) {
        pen.series().count(rdp.certificate_changes);
    }
}
