//! Errors on one line.

use std::error::Error;

/// An error and what led to it, from the outermost to the first cause. Nothing is said twice:
/// a cause that its effect has quoted is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.ends_with(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn an_error_names_its_cause_once() {
        let cause = Error::new(ErrorKind::StorageFull, "no space");
        let path = std::path::PathBuf::from("db");
        let error = StoreError::Path { path, error: cause };
        assert!(chain(&error).ends_with("set [store] path: no space"), "{}", chain(&error));
        let plain = Error::other(Error::other("inner"));
        assert_eq!(chain(&plain), "inner");
    }
}
