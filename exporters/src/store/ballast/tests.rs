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
fn no_ballast_is_made_where_it_would_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut ballast = Ballast::beside(&folder.path().join("db"), u64::MAX / 4);
    ballast.tend();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
