//! Which exposition format a client gets (RFC 9110 12.5.1).

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type`; Prometheus 3 refuses a page without one.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    const fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain"),
            Self::OpenMetrics => ("application", "openmetrics-text"),
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Text => "0.0.4",
            Self::OpenMetrics => "1.0.0",
        }
    }
}

/// How well a format suits a client: weight, then how exactly it was named, then how early.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Fit {
    weight: f32,
    exactness: u8,
    earliness: isize,
}

/// Chooses the format for an `Accept` header. Who accepts neither gets text, as everywhere in
/// Prometheus' world: a page in the wrong dress says more than an error.
pub fn negotiate(accept: Option<&str>) -> Format {
    let Some(accept) = accept else { return Format::Text };
    let text = fit(Format::Text, accept);
    let open = fit(Format::OpenMetrics, accept);
    match (text, open) {
        (Some(text), Some(open)) if open > text => Format::OpenMetrics,
        (None, Some(_)) => Format::OpenMetrics,
        (_, _) => Format::Text,
    }
}

/// The most exact range that names a format decides its weight; weight zero forbids it.
fn fit(format: Format, accept: &str) -> Option<Fit> {
    let ranges = accept.split(',').take(64).zip(0..);
    let fits = ranges.filter_map(|(range, place)| range_fit(format, range, place));
    let best = fits.reduce(|best, next| if next.exactness > best.exactness { next } else { best });
    best.filter(|fit| fit.weight > 0.0)
}

fn range_fit(format: Format, range: &str, place: isize) -> Option<Fit> {
    let mut parts = range.split(';').map(str::trim);
    let (kind, subkind) = parts.next()?.split_once('/')?;
    let (ours, our_subkind) = format.media_type();
    let exactness = match (kind, subkind) {
        ("*", "*") => 0,
        (kind, "*") if kind.eq_ignore_ascii_case(ours) => 1,
        (kind, subkind)
            if kind.eq_ignore_ascii_case(ours) && subkind.eq_ignore_ascii_case(our_subkind) =>
        {
            2
        }
        (_, _) => return None,
    };
    let mut weight = 1.0;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = value.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" if value != format.version() => return None,
            // `charset`, `escaping` and what may come: our names are plain ASCII in any of them.
            _ => {}
        }
    }
    Some(Fit { weight, exactness, earliness: -place })
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Text};
    use super::*;

    #[test]
    fn the_accept_header_decides() {
        let table = [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/html"), Text),
            (Some("application/json;q=1"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), OpenMetrics),
            (Some("application/openmetrics-text; version=0.0.1"), Text),
            (Some("Application/OpenMetrics-Text;VERSION=\"1.0.0\""), OpenMetrics),
            (Some("application/openmetrics-text;q=0.5,text/plain;q=0.4"), OpenMetrics),
            (Some("application/openmetrics-text;q=0.4,text/plain;q=0.5"), Text),
            (Some("application/openmetrics-text;q=0,*/*;q=0.1"), Text),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=x"), Text),
            (Some("application/openmetrics-text,*/*"), OpenMetrics),
            (Some("text/plain,application/openmetrics-text"), Text),
            (Some("application/*,text/*;q=0.9"), OpenMetrics),
            // Prometheus 2.42.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,\
                     application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            // Prometheus 3.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,/;q=0.1",
                ),
                OpenMetrics,
            ),
            // Prometheus 3 with native histograms.
            (
                Some(
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                     encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.5",
                ),
                Text,
            ),
        ];
        for (accept, expected) in table {
            assert_eq!(negotiate(accept), expected, "{accept:?}");
        }
    }
}
