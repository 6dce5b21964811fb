use super::*;

#[test]
fn a_ballast_is_made_given_up_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let mut ballast = Ballast::beside(&store, 1 << 20);
    assert!(!ballast.release(), "there is none yet");
    ballast.tend();
    let path = folder.path().join("db.ballast");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
    assert!(!ballast.is_spent());
    assert!(ballast.release() && ballast.is_spent() && !path.exists());
    ballast.tend();
    assert!(!ballast.is_spent() && path.exists());
}

#[test]
fn a_ballast_leaves_as_much_as_it_takes() {
    const MEGABYTE: u64 = 1 << 20;
    for (free, length, expected) in [
        (1024 * MEGABYTE, 0, 16 * MEGABYTE),
        (32 * MEGABYTE, 0, 16 * MEGABYTE),
        (20 * MEGABYTE, 0, 10 * MEGABYTE),
        (10 * MEGABYTE, 10 * MEGABYTE, 10 * MEGABYTE),
        (0, 0, 0),
    ] {
        assert_eq!(fitting(16 * MEGABYTE, free, length), expected, "{free} and {length}");
    }
}

#[test]
fn what_was_given_up_is_not_taken_back_too_soon() {
    let folder = tempfile::tempdir().unwrap();
    let mut ballast = Ballast::beside(&folder.path().join("db"), 1 << 20);
    ballast.tend();
    assert!(ballast.release() && ballast.is_missing());
    // As if it had been more than is free now.
    ballast.given_up = u64::MAX;
    ballast.tend();
    assert!(ballast.is_spent() && ballast.is_missing());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_small_ballast_grows_with_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    Ballast::beside(&store, 1 << 19).tend();
    let mut ballast = Ballast::beside(&store, 1 << 21);
    ballast.tend();
    assert_eq!(ballast.length(), 1 << 21);
}
