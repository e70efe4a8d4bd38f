//! Which addresses may be reached. A name is resolved once, judged, and the judged addresses are the ones connected to,
//! so that a name cannot change its answer between the check and the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use super::client::NetError;

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Link-local, cloud metadata, multicast: never reached.
    Never,
    /// Loopback, private and shared ranges: only when the request allows them.
    Private,
    Public,
}

/// Metadata services outside the link-local range: Alibaba, Azure's wire server, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Amazon's and Google's metadata services over IPv6.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Judges an address. IPv4 inside IPv6 (mapped, NAT64, 6to4) counts as the IPv4 address it leads to.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(v4: Ipv4Addr) -> Reach {
    let [a, b, c, _] = v4.octets();
    if v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || METADATA_V4.contains(&v4) {
        Reach::Never
    } else if v4.is_loopback()
        || v4.is_private()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
    {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(v6: Ipv6Addr) -> Reach {
    let s = v6.segments();
    let inner = |hi: u16, lo: u16| reach_v4(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo)));
    if let Some(v4) = v6.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    if v6.is_loopback() || v6.is_unspecified() {
        return Reach::Private;
    }
    if METADATA_V6.contains(&v6) || v6.is_multicast() || (s[0] & 0xffc0) == 0xfe80 {
        return Reach::Never;
    }
    match s[0] {
        0x0064 if s[1] == 0xff9b => inner(s[6], s[7]),
        0x2002 => inner(s[1], s[2]),
        0x0000 if s[..6] == [0; 6] => inner(s[6], s[7]),
        first if (first & 0xfe00) == 0xfc00 || (first & 0xffc0) == 0xfec0 => Reach::Private,
        _ => Reach::Public,
    }
}

/// Is the URL's host this machine: `localhost`, 127.0.0.0/8, `::1`? Decided by the text, without a look-up.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    }
}

/// The addresses of the URL's host that may be reached, IPv4 first. Never empty.
pub(super) async fn resolve(url: &Url, allow_private: bool) -> Result<Vec<SocketAddr>, NetError> {
    let port = url.port_or_known_default().unwrap_or(0);
    match url.host() {
        Some(Host::Domain(name)) => resolve_name(name, port, allow_private).await,
        Some(Host::Ipv4(v4)) => permitted(&v4.to_string(), vec![(v4, port).into()], allow_private),
        Some(Host::Ipv6(v6)) => permitted(&v6.to_string(), vec![(v6, port).into()], allow_private),
        None => Err(NetError::Protocol("the URL has no host".into())),
    }
}

pub(super) async fn resolve_name(name: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, NetError> {
    let found = tokio::net::lookup_host((name, port)).await.map_err(|_| NetError::Dns(name.to_string()))?;
    let mut found: Vec<SocketAddr> = found.collect();
    if found.is_empty() {
        return Err(NetError::Dns(name.to_string()));
    }
    found.sort_by_key(SocketAddr::is_ipv6);
    permitted(name, found, allow_private)
}

/// Refuses an address written into the URL itself, before any connection is made.
pub fn check_literal(url: &Url, allow_private: bool) -> Result<(), NetError> {
    let literal: IpAddr = match url.host() {
        Some(Host::Ipv4(v4)) => v4.into(),
        Some(Host::Ipv6(v6)) => v6.into(),
        _ => return Ok(()),
    };
    permitted(&literal.to_string(), vec![(literal, 0).into()], allow_private).map(drop)
}

fn permitted(host: &str, found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, NetError> {
    let judged = |a: &SocketAddr| match reach(a.ip()) {
        Reach::Public => true,
        Reach::Private => allow_private,
        Reach::Never => false,
    };
    let only_never = found.iter().all(|a| reach(a.ip()) == Reach::Never);
    let kept: Vec<SocketAddr> = found.into_iter().filter(judged).collect();
    if !kept.is_empty() {
        return Ok(kept);
    }
    let kind = if only_never { "a link-local or cloud metadata" } else { "a private" };
    Err(NetError::Refused(format!("{host} leads to {kind} address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_are_never_reached() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "224.0.0.1",
        ] {
            assert_eq!(reach(text.parse().unwrap()), Reach::Never, "{text}");
        }
        for text in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "0.0.0.0", "::1", "fd12::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(reach(text.parse().unwrap()), Reach::Private, "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "100.128.0.1"] {
            assert_eq!(reach(text.parse().unwrap()), Reach::Public, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_needs_leave() {
        assert!(resolve_name("localhost", 80, true).await.is_ok());
        assert_eq!(
            resolve_name("localhost", 80, false).await.unwrap_err(),
            NetError::Refused("localhost leads to a private address".into())
        );
        let odd: Url = "http://0xa9fea9fe/latest/meta-data".parse().unwrap();
        assert!(matches!(check_literal(&odd, true), Err(NetError::Refused(_))), "hexadecimal spelling");
    }
}
