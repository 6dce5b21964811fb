//! Checksums of rows, for `SQLite` keeps none of its pages.

use ring::digest::{SHA256, digest};
use rusqlite::types::Value;

/// The checksum of a row: the first eight bytes of SHA-256 over its table's name and its values,
/// each with its kind and length, so that no two rows give the same bytes.
pub(super) fn seal(table: &str, values: &[Value]) -> i64 {
    let mut bytes = Vec::with_capacity(256);
    let mut add = |kind: u8, piece: &[u8]| {
        bytes.push(kind);
        bytes.extend_from_slice(&u64::try_from(piece.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(piece);
    };
    add(b't', table.as_bytes());
    for value in values {
        match value {
            Value::Null => add(0, &[]),
            Value::Integer(number) => add(1, &number.to_le_bytes()),
            Value::Real(number) => add(2, &number.to_le_bytes()),
            Value::Text(text) => add(3, text.as_bytes()),
            Value::Blob(blob) => add(4, blob),
        }
    }
    let hash = digest(&SHA256, &bytes);
    hash.as_ref().iter().take(8).fold(0, |sum: i64, byte| (sum << 8) | i64::from(*byte))
}

/// Whether a row whose last value is its checksum is as it was written.
pub(super) fn is_sealed(table: &str, row: &[Value]) -> bool {
    match row.split_last() {
        Some((Value::Integer(checksum), values)) => seal(table, values) == *checksum,
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_checksum_knows_the_table_the_order_and_the_borders_of_values() {
        let row = [text("ab"), text("c"), Value::Integer(1)];
        let sum = seal("incidents", &row);
        assert_eq!(sum, seal("incidents", &row.clone()));
        let others = [
            seal("incident_events", &row),
            seal("incidents", &[text("a"), text("bc"), Value::Integer(1)]),
            seal("incidents", &[text("c"), text("ab"), Value::Integer(1)]),
            seal("incidents", &[text("ab"), text("c"), Value::Null]),
            seal("incidents", &[text("ab"), Value::Blob(b"c".to_vec()), Value::Integer(1)]),
        ];
        assert!(others.iter().all(|other| *other != sum), "{others:?}");
        let mut sealed = row.to_vec();
        sealed.push(Value::Integer(sum));
        assert!(is_sealed("incidents", &sealed));
        sealed[0] = text("ac");
        assert!(!is_sealed("incidents", &sealed) && !is_sealed("incidents", &[]));
    }
}
