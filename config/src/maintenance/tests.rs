use super::*;

fn weekly(days: &[Weekday], from: &str, to: &str, zone: &str) -> When {
    let time = |text| Time::strptime("%H:%M", text).unwrap();
    let zone = TimeZone::get(zone).unwrap();
    When::Weekly { days: days.to_vec(), from: time(from), to: time(to), zone }
}

fn covers(when: &When, moment: &str) -> bool {
    when.covers(moment.parse().unwrap())
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
    // 2026-11-28 is a Saturday.
    let when = weekly(&[Weekday::Saturday], "22:00", "02:00", "UTC");
    for (moment, expected) in [
        ("2026-11-28T21:59:59Z", false),
        ("2026-11-28T22:00:00Z", true),
        ("2026-11-29T01:59:59Z", true),
        ("2026-11-29T02:00:00Z", false),
        ("2026-11-29T23:00:00Z", false),
        ("2026-11-28T01:00:00Z", false),
    ] {
        assert_eq!(covers(&when, moment), expected, "{moment}");
    }
}

#[test]
fn the_clock_of_the_place_counts() {
    let all = [Weekday::Monday, Weekday::Tuesday];
    let when = weekly(&all, "09:00", "10:00", "Asia/Shanghai");
    // Monday nine o'clock in Shanghai is Monday one o'clock in UTC.
    assert!(covers(&when, "2026-11-30T01:30:00Z"));
    assert!(!covers(&when, "2026-11-30T09:30:00Z"));
    // Berlin puts its clocks back on 2026-10-25 at three to two: that hour comes twice.
    let when = weekly(&[Weekday::Sunday], "02:15", "02:45", "Europe/Berlin");
    assert!(covers(&when, "2026-10-25T00:30:00Z") && covers(&when, "2026-10-25T01:30:00Z"));
    assert!(!covers(&when, "2026-10-25T02:30:00Z"));
}

#[test]
fn a_whole_day_ends_where_it_begins() {
    let when = weekly(&[Weekday::Sunday], "00:00", "00:00", "UTC");
    assert!(covers(&when, "2026-11-29T00:00:00Z") && covers(&when, "2026-11-29T23:59:59Z"));
    assert!(!covers(&when, "2026-11-30T00:00:00Z") && !covers(&when, "2026-11-28T12:00:00Z"));
}

#[test]
fn once_is_once() {
    let (start, end) = ("2026-01-31T22:00:00Z", "2026-02-01T02:00:00Z");
    let when = When::Once { start: start.parse().unwrap(), end: end.parse().unwrap() };
    assert!(covers(&when, start) && !covers(&when, end));
    assert!(!covers(&when, "2027-01-31T23:00:00Z"));
}
