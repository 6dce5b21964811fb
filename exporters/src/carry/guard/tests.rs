use super::*;

/// Who may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    Nobody,
    Plan,
    All,
}

fn check(text: &str, expected: May) {
    let plan = host(text, Origin::Plan).is_ok();
    let elsewhere = host(text, Origin::Elsewhere).is_ok();
    let found = match (plan, elsewhere) {
        (false, false) => May::Nobody,
        (true, false) => May::Plan,
        (true, true) => May::All,
        (false, true) => panic!("{text}: a stranger may what the owner may not"),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn metadata_and_link_local_are_refused_in_every_form() {
    let table = [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.255.255",
        "169.254.170.2",
        "169.254.169.253",
        "[fe80::1]",
        "fe80::1",
        "febf::1",
        "fe80::a9fe:a9fe",
        "fd00:ec2::254",
        "[fd00:ec2::254]",
        "fd20:ce::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "[::ffff:a9fe:a9fe]",
        "::169.254.169.254",
        "::a9fe:a9fe",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:2:3:4:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "2002:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "::ffff:100.100.100.200",
        "64:ff9b::6464:64c8",
        "2002:6464:64c8::1",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "metadata.google.internal",
        "METADATA.GOOGLE.INTERNAL",
        "metadata.google.internal.",
        "metadata.goog",
        "metadata",
        "Metadata.",
        "instance-data",
        "instance-data.ec2.internal",
    ];
    for text in table {
        check(text, May::Nobody);
    }
}

#[test]
fn what_is_no_host_is_refused() {
    let table = [
        "0.0.0.0",
        "0.1.2.3",
        "0.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "::",
        "[::]",
        "ff02::1",
        "ff05::2",
        "64:ff9b::",
        "2002:0:0::1",
        "2002:e000:1::",
    ];
    for text in table {
        check(text, May::Nobody);
    }
}

#[test]
fn numbers_in_disguise_are_refused() {
    let table = [
        "2852039166",
        "0xa9fea9fe",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.169.0xfe",
        "169.254.169.0376",
        "0251.254.169.254",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.01",
        "0",
        "1",
        "10.1",
        "192.168.257",
        "3232235777",
        "127.0.0.1.",
        "256.256.256.256",
        "1.2.3.4.5",
        "0x",
        "example.1",
        "example.0x1f",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "[::1",
        "::ffff:1.2.3",
        "",
    ];
    for text in table {
        check(text, May::Nobody);
    }
}

#[test]
fn private_hosts_are_for_the_plan_alone() {
    let table = [
        "127.0.0.1",
        "127.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.8",
        "198.18.0.1",
        "198.19.255.255",
        "240.0.0.1",
        "254.1.2.3",
        "::1",
        "[::1]",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:192.168.1.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "::127.0.0.1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
    ];
    for text in table {
        check(text, May::Plan);
    }
}

#[test]
fn the_rest_of_the_world_is_open() {
    let table = [
        "192.0.2.1",
        "198.51.100.7",
        "203.0.113.9",
        "8.8.8.8",
        "169.253.255.255",
        "169.255.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "192.167.1.1",
        "223.255.255.255",
        "1.0.0.1",
        "2001:db8::1",
        "2606:4700::1111",
        "[2001:db8::1]",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "hooks.slack.com",
        "oapi.dingtalk.com",
        "open.feishu.cn",
        "example.com.",
        "1.example",
        "0x7f.example",
        "metadata.example",
        "alerts",
        "localhost.example",
    ];
    for text in table {
        check(text, May::All);
    }
}

#[test]
fn every_resolved_address_is_looked_at_by_the_same_rules() {
    let rebound: IpAddr = "169.254.169.254".parse().unwrap();
    assert_eq!(address(rebound, Origin::Plan), Err(Refusal::LinkLocal));
    let inside: IpAddr = "10.1.2.3".parse().unwrap();
    assert_eq!(address(inside, Origin::Elsewhere), Err(Refusal::Private));
    assert_eq!(address(inside, Origin::Plan), Ok(()));
}
