//! What the servers say.

use super::*;

#[test]
fn servers_speak_their_parts() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let target = &chain.lan.target;
        let rdp = server::rdp_confirm(target, RDP)?;
        let _ssh = server::ssh_banner(target, 22)?;
        let _http = server::http(target, 80)?;
        let _sink = server::sink(target, 9)?;
        let ask = |port: u16, request: &[u8], length: usize| -> Result<Vec<u8>> {
            let at = chain.lan.target_at.socket_v6(port);
            let mut stream = probe::connect(&chain.v1, at, SOON)?.context("connect")?;
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(request)?;
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        let request = b"\x03\x00\x00\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0";
        let confirm = ask(RDP, request, 19)?;
        assert_eq!(confirm, *b"\x03\0\0\x13\x0e\xd0\0\0\x124\0\x02\x01\x08\0\x01\0\0\0");
        assert_eq!(ask(22, b"", 21)?, *b"SSH-2.0-OpenSSH_9.2\r\n");
        assert_eq!(ask(80, b"GET / HTTP/1.1\r\n\r\n", 12)?, *b"HTTP/1.1 200");
        assert_eq!(rdp.accepted(), 1);
        rdp.stop();
        let refused = probe::connect(&chain.v1, chain.lan.target_at.socket_v4(RDP), SOON)?;
        assert_eq!(refused.err().map(|e| e.kind()), Some(ErrorKind::ConnectionRefused));
        Ok(())
    });
}

#[test]
fn silent_and_full_servers_differ() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let silent = server::silent(&chain.lan.target, 1000)?;
        let _full = server::no_accept(&chain.lan.target, 1001, 1)?;
        let connect =
            |port, within| probe::connect(&chain.v1, chain.lan.target_at.socket_v4(port), within);
        let mut held = connect(1000, SOON)?.context("silent")?;
        held.write_all(b"anyone?")?;
        held.set_read_timeout(Some(SILENCE))?;
        let nothing = held.read(&mut [0; 1]).err().map(|error| error.kind());
        assert_eq!(nothing, Some(ErrorKind::WouldBlock));
        wait_until(SOON, || silent.accepted() == 1)?;
        let _queue =
            [connect(1001, SOON)?.context("first")?, connect(1001, SOON)?.context("second")?];
        let third = connect(1001, SILENCE)?.err().map(|error| error.kind());
        assert_eq!(third, Some(ErrorKind::TimedOut));
        drop(silent);
        let mut rest = Vec::new();
        assert!(held.read_to_end(&mut rest).is_err() || rest.is_empty());
        Ok(())
    });
}

#[test]
fn webhook_keeps_what_it_accepts() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let hook = server::webhook(&chain.lan.n1, 8080)?;
        let post = |body: &str| -> Result<String> {
            let at = chain.lan.n1_at.socket_v4(8080);
            let mut stream = probe::connect(&chain.v1, at, SOON)?.context("connect")?;
            let length = body.len();
            write!(stream, "POST /hook HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        hook.set_status(503);
        assert!(post("refused")?.starts_with("HTTP/1.1 503"));
        hook.set_status(200);
        assert!(post("taken")?.starts_with("HTTP/1.1 200"));
        assert_eq!(hook.wait_for(1, SOON)?, ["taken"]);
        assert!(hook.wait_for(2, Duration::ZERO).is_err());
        let statuses: Vec<u16> = hook.deliveries().iter().map(|d| d.status).collect();
        assert_eq!(statuses, [503, 200]);
        assert_eq!(hook.deliveries()[0].path, "/hook");
        Ok(())
    });
}

#[test]
fn dns_changes_its_mood() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let target = chain.lan.target_at;
        let server = server::dns(&chain.lan.n2, &[("win.example", &target.both())])?;
        let resolver = chain.lan.n2_at.socket_v4(53);
        let ask = |name: &str, kind: u8, within| -> Result<Option<Vec<u8>>> {
            let socket = in_namespace(&chain.v1, || std::net::UdpSocket::bind(("0.0.0.0", 0)))??;
            socket.set_read_timeout(Some(within))?;
            let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
            for label in name.split('.') {
                query.push(label.len() as u8);
                query.extend(label.bytes());
            }
            query.extend([0, 0, kind, 0, 1]);
            socket.send_to(&query, resolver)?;
            let mut answer = [0; 512];
            Ok(socket.recv(&mut answer).ok().map(|length| answer[..length].to_vec()))
        };
        let v4 = ask("WIN.example", 1, SOON)?.context("A")?;
        assert!(v4.ends_with(&target.v4.octets()) && v4[7] == 1, "{v4:02x?}");
        let v6 = ask("win.example", 28, SOON)?.context("AAAA")?;
        assert!(v6.ends_with(&target.v6.octets()) && v6[3] & 15 == 0, "{v6:02x?}");
        assert_eq!(ask("no.example", 1, SOON)?.context("unknown")?[3] & 15, 3);
        server.set_behaviour(Behaviour::ServerFailure);
        assert_eq!(ask("win.example", 1, SOON)?.context("failure")?[3] & 15, 2);
        server.set_behaviour(Behaviour::Silent);
        assert_eq!(ask("win.example", 1, SILENCE)?, None);
        assert_eq!(server.queries(), 5);
        server.set_behaviour(Behaviour::Answer);
        lab.set_nameserver(chain.lan.n2_at.v4.into())?;
        let found = chain.v1.run(&["getent", "ahostsv4", "win.example"])?;
        assert!(found.starts_with("10.9.0.10 "), "{found}");
        Ok(())
    });
}
